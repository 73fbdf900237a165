"""A stem makes the first cell's input as many times smaller as it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.space.blueprint import STEM_FACTORS, from_dict, inner_widths, plan
from pipeline.space.network import build
from pipeline.space.params import NetworkParams
from tests.conftest import tiny, tiny_blueprint


@pytest.mark.parametrize("factor", STEM_FACTORS)
@given(side=st.integers(8, 40))
def test_the_first_cell_reads_what_the_stem_leaves(factor: int, side: int) -> None:
    blueprint = tiny_blueprint(stem=factor)
    network = build(blueprint, generator=generator(0, "weights")).eval()
    with torch.no_grad():
        features = network.stem(torch.zeros(1, 3, side, side))
    assert blueprint.stem_factor == factor
    assert features.shape == (1, blueprint.stem_channels, *blueprint.after_stem(side, side))
    assert features.shape[2] == -(-side // factor)


@pytest.mark.parametrize(
    ("side", "factor"), [(8, 1), (32, 1), (40, 1), (64, 2), (96, 4), (128, 4), (224, 8), (999, 8)]
)
def test_auto_leaves_the_cells_an_input_that_they_can_afford(side: int, factor: int) -> None:
    params = tiny(NetworkParams, stem="auto")
    blueprint = plan(params, image_channels=3, classes=3, image_size=side)
    assert blueprint.stem_factor == factor


@given(st.integers(2, 200), st.sampled_from(STEM_FACTORS))
def test_inner_widths_double_and_are_even(half: int, factor: int) -> None:
    widths = inner_widths(2 * half, factor)
    assert 2 ** (len(widths) + 1) == max(factor, 2)
    assert all(width % 2 == 0 for width in widths)
    assert list(widths) == sorted(widths)
    assert all(width <= half + 1 for width in widths)


def test_a_blueprint_of_an_earlier_version_has_a_stem_that_halves_nothing() -> None:
    blueprint = tiny_blueprint(stem=1)
    document = blueprint.to_dict()
    del document["stem_stride"], document["stem_widths"]
    assert from_dict(document) == blueprint
    assert from_dict(tiny_blueprint(stem=8).to_dict()) == tiny_blueprint(stem=8)
