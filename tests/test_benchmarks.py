"""The benchmarks run: their imports resolve, and the smallest of each kind gives figures."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from darts_quality import OPERATIONS, Judge, cell_of_row, random_cell
from nasbench201_table import Trained, best_as_small, percentile
from paired import paired

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


def test_of_every_second_class_one_of_so_many_training_images_is_left(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in "abc":
            (tmp_path / "equal" / split / name).mkdir(parents=True)
            for number in range(8):
                (tmp_path / "equal" / split / name / f"{number}.png").write_text(f"{number}")
    run("unequal.py", str(tmp_path / "equal"), str(tmp_path / "unequal"), "--ratio", "4")
    left = {
        f"{split}/{name}": sorted(
            path.stem for path in (tmp_path / "unequal" / split / name).iterdir()
        )
        for split in ("train", "test")
        for name in "abc"
    }
    everything = [str(number) for number in range(8)]
    assert left == dict.fromkeys(left, everything) | {"train/b": ["0", "4"]}


@pytest.mark.slow
def test_everything_about_a_device_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    sizes = ("--images", "64", "--batches", "32", "--rounds", "1")
    with pytest.raises(SystemExit, match=r"^0$"):
        run("accelerator.py", *sizes, "--out", str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["repeat"]["same_bytes"]
    assert found["speed"]["search"]["32"]["images_per_second"] > 0


@pytest.mark.parametrize("side", ["fixed", "ours", "ours gate", "gdas nchw", "darts"])
def test_every_schedule_of_the_step_benchmark_makes_its_steps(
    side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("step.py", *SMALL, "--rounds", "1", "--only", side)
    assert json.loads(capsys.readouterr().out).keys() == {"peak_mib"}


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=9))
def test_a_paired_difference_turned_round_has_the_other_sign(pairs: list[tuple[int, int]]) -> None:
    ours, others = zip(*pairs, strict=True)
    one, other = paired(ours, others), paired(others, ours)
    assert one["difference"] == pytest.approx(-other["difference"])
    assert (one["ahead"], one["behind"]) == (other["behind"], other["ahead"])
    for test in ("t", "wilcoxon"):
        assert 0 <= one[test] <= 1
        assert one[test] == pytest.approx(other[test])


def test_a_difference_on_all_of_eight_seeds_is_no_chance() -> None:
    found = paired(range(8), [one - 2 - 0.1 * one for one in range(8)])
    assert (found["ahead"], found["behind"]) == (8, 0)
    assert max(found["t"], found["wilcoxon"]) < 0.01


def row(test: float, parameters: float) -> Trained:
    return Trained(test=test, short=0.0, parameters=parameters, others={})


def test_a_cell_is_compared_with_those_of_its_own_size() -> None:
    table = {
        "small": row(80, 1),
        "a": row(90, 2),
        "b": row(91, 2),
        "c": row(92, 2),
        "d": row(99, 3),
    }
    assert [percentile(table, name) for name in "abc"] == [0, 50, 100]
    assert percentile(table, "d") == 50.0  # alone: nothing is known
    assert best_as_small(table, "a") == 92
    assert best_as_small(table, "small") == 80


def test_the_judge_of_darts_cells_finds_what_the_rows_say() -> None:
    """Made rows: accuracy rises with separable convolutions, size with 5x5 ones."""
    source = np.random.default_rng(1)
    rows = []
    for _ in range(120):
        pair = (random_cell(source), random_cell(source))
        names = [OPERATIONS[operation] for cell in pair for *_, operation in cell]
        accuracy = 90 + sum(name.startswith("sep") for name in names) / 4
        words = [
            " ".join(f"{OPERATIONS[operation]}<{place}" for _, place, operation in cell)
            for cell in pair
        ]
        millions = 0.2 + 0.1 * sum(name.endswith("5x5") for name in names)
        cells = {"normal": words[0], "reduction": words[1]}
        measured = {"validation_accuracy": f"{accuracy}", "params_millions": f"{millions}"}
        rows.append(cells | measured)
    judge = Judge(rows)
    assert judge.tau > 0.6
    best, worst = (
        [
            tuple((node, place, OPERATIONS.index(name)) for node in range(4) for place in (0, 1))
            for _ in range(2)
        ]
        for name in ("sep_conv_3x3", "max_pool_3x3")
    )
    assert judge.judge(0, best).percentile > 80
    assert judge.judge(0, worst).percentile < 20
    assert judge.judge(0, best).millions == pytest.approx(0.2, abs=0.01)
    assert cell_of_row("sep_conv_3x3<0 skip_connect<1") == ((0, 0, 3), (0, 1, 2))
