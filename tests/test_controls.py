"""Control networks of the benchmark have the size of what they are compared with."""

import sys
from pathlib import Path

import pytest
import torch

from pipeline.randomness import generator
from pipeline.space.cost import cost
from pipeline.space.relaxation import decide
from tests.conftest import tiny_blueprint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import controls


@pytest.mark.parametrize("parameters", [30_000, 200_000])
@pytest.mark.parametrize("seed", range(3))
def test_a_control_has_about_as_many_parameters_as_it_shall(parameters: int, seed: int) -> None:
    blueprint = tiny_blueprint(channels=6, stem_multiplier=3)
    logits = torch.randn(2, 5, 4, generator=generator(seed, "logits"))
    found = controls.of_size(blueprint, logits, parameters)
    counted = cost(found, decide(logits, found), (8, 8)).parameters
    assert counted == pytest.approx(parameters, rel=0.1)
    assert decide(logits, found) == decide(logits, blueprint)
    assert all(cell.channels % 2 == 0 for cell in found.cells)
