"""Tests that share a slow fixture run in one process, so that it is made only once."""

import pytest


@pytest.mark.xdist_group("groups")
def test_the_tests_of_a_group_are_kept_together(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("make test keeps groups together; this run has none")
    assert request.node.nodeid.endswith("@groups")
