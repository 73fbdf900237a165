"""A blueprint is data: it says where cells halve the size and which logits decide them."""

import json

import pytest
from hypothesis import given

from pipeline.space.blueprint import Blueprint, from_dict
from tests.conftest import blueprints, tiny_blueprint


@given(blueprints())
def test_a_blueprint_round_trips_through_json(blueprint: Blueprint) -> None:
    assert from_dict(json.loads(json.dumps(blueprint.to_dict()))) == blueprint


@pytest.mark.parametrize(("cells", "reductions"), [(3, {1, 2}), (8, {2, 5}), (20, {6, 13})])
def test_cells_at_one_and_two_thirds_halve_the_size_and_double_the_channels(
    cells: int, reductions: set[int]
) -> None:
    plans = tiny_blueprint(cells=cells).cells
    assert {index for index, cell in enumerate(plans) if cell.kind == "reduction"} == reductions
    doubled = [sum(index <= cell for index in reductions) for cell in range(cells)]
    assert [cell.channels for cell in plans] == [4 * 2**times for times in doubled]


@given(blueprints())
def test_every_node_takes_all_inputs_and_all_earlier_nodes(blueprint: Blueprint) -> None:
    for node in range(blueprint.nodes):
        sources = [source for source, target in blueprint.edges if target == node]
        assert sources == list(range(node + len(blueprint.rules.inputs)))


@given(blueprints())
def test_architectures_have_distinct_names(blueprint: Blueprint) -> None:
    names = [blueprint.architecture_name(index) for index in range(blueprint.architectures)]
    assert len(set(names)) == len(names)


def test_cells_of_a_kind_share_their_logits_if_asked_to() -> None:
    assert [cell.architecture for cell in tiny_blueprint().cells] == [0, 1, 1]
    assert [cell.architecture for cell in tiny_blueprint(share_logits=False).cells] == [0, 1, 2]
