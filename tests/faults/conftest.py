"""Shared by the tests of faults: a project whose stages have all run once."""

from collections.abc import Iterator

import pytest

from tests.faults.injected.workplace import Workplace, workplace


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    with workplace(tmp_path_factory.mktemp("place")) as made:
        yield made
