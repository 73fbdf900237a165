"""Growth as data: one more cell, or more channels everywhere."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.growing.blueprints import deepen, position, widen
from pipeline.space.blueprint import Blueprint
from tests.conftest import blueprints, tiny_blueprint


@given(blueprints(), st.integers(1, 4))
def test_deepening_adds_one_grown_normal_cell_of_its_neighbours_width(
    blueprint: Blueprint, times: int
) -> None:
    for _ in range(times):
        index = position(blueprint)
        deeper = deepen(blueprint)
        added = deeper.cells[index]
        assert (added.kind, added.grown) == ("normal", True)
        assert added.channels == deeper.cells[index - 1].channels
        assert deeper.cells[:index] + deeper.cells[index + 1 :] == blueprint.cells
        assert replace(deeper, cells=blueprint.cells) == blueprint
        blueprint = deeper


@given(blueprints())
def test_a_new_cell_shares_the_logits_of_its_kind_only_where_cells_share_them(
    blueprint: Blueprint,
) -> None:
    deeper, index = deepen(blueprint), position(blueprint)
    architecture = deeper.cells[index].architecture
    if blueprint.architectures == len(blueprint.cells):
        assert architecture == blueprint.architectures == deeper.architectures - 1
    else:
        assert deeper.architectures == blueprint.architectures
        assert {c.architecture for c in deeper.cells if c.kind == "normal"} == {architecture}


@given(blueprints(), st.integers(6, 9))
def test_deepening_again_and_again_gives_every_resolution_as_many_cells(
    blueprint: Blueprint, times: int
) -> None:
    for _ in range(times):
        blueprint = deepen(blueprint)
    starts = [0, *(i for i, cell in enumerate(blueprint.cells) if cell.kind == "reduction")]
    lengths = [end - start for start, end in pairwise([*starts, len(blueprint.cells)])]
    assert max(lengths) - min(lengths) <= 1


def test_a_new_cell_stands_at_the_end_of_the_shortest_resolution_the_later_of_equals() -> None:
    assert position(tiny_blueprint(cells=3)) == 3  # 1 + 1 + 1 cells
    assert position(tiny_blueprint(cells=4)) == 2  # 1 + 1 + 2
    assert position(tiny_blueprint(cells=5)) == 1  # 1 + 2 + 2


@given(blueprints(), st.floats(1.01, 4))
def test_widening_gives_every_cell_an_even_number_of_about_so_many_times_the_channels(
    blueprint: Blueprint, factor: float
) -> None:
    wider = widen(deepen(blueprint), factor)
    for before, after in zip(deepen(blueprint).cells, wider.cells, strict=True):
        assert after.channels % 2 == 0
        assert after.channels > before.channels
        assert 0 <= after.channels - factor * before.channels < 2 + 1e-9
        assert replace(after, channels=before.channels) == before
    adapts = blueprint.rules.adapts
    stem = blueprint.stem_channels if adapts else wider.cells[0].channels
    assert wider.stem_channels == stem
