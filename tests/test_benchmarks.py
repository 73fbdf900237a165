"""The benchmarks run: their imports resolve, and the smallest of each kind gives figures."""

import json
import runpy
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

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted(
    path.name
    for path in (ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)
SMALL = ("--channels", "4", "--cells", "3", "--nodes", "1", "--batch", "4", "--size", "8")


def run(name: str, *arguments: str) -> None:
    """Run a benchmark in this process, which has imported torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_says_how_it_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        run(name, "--help")
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("side", ["fixed", "ours", "ours gate", "gdas nchw", "darts"])
def test_every_schedule_of_the_step_benchmark_makes_its_steps(
    side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("step.py", *SMALL, "--rounds", "1", "--only", side)
    assert json.loads(capsys.readouterr().out).keys() == {"peak_mib"}


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
