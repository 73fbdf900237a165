"""Finalists whose operation fails leave; the others compete as if those had not entered."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pipeline.deciding.decision import decide
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.lacks import ending
from pipeline.searching.finals import Finals, hold
from pipeline.space.relaxation import disabled, genotype_weights
from pipeline.training import resume
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.breaking import Effect, backward, lacking, nan, refusing
from tests.conftest import context
from tests.phases import finals
from tests.test_resume import here  # noqa: F401 - a fixture of every test here

FOUR: dict[str, Any] = {"finalists": 4, "finalist_epochs": 2}


def broken_finals(
    checkpoint: Path, breaks: Callable[..., None], effect: Effect, **changes: Any
) -> tuple[Finals, tuple[int, int, int], set[int]]:
    """Return finals in which an operation fails that some finalists run, but not the first.

    Also its place (architecture, edge, operation), and the numbers of the finalists that run it.
    """
    phase = finals(checkpoint, context(48, **changes), **FOUR)
    plan = phase.searched.network.blueprint
    runs = [genotype_weights(one, plan).active for one in phase.entrants]
    found = {}
    for place in product(
        range(plan.architectures), range(len(plan.edges)), range(len(plan.operations))
    ):
        architecture, edge, operation = place
        out = {n for n, one in enumerate(runs) if operation in one[architecture][edge]}
        if out and 0 not in out and plan.operations[operation] not in {"none", "skip_connect"}:
            found[place] = out
    (architecture, edge, operation), out = min(found.items(), key=lambda one: len(one[1]))
    cell = [one.architecture for one in plan.cells].index(architecture)
    breaks((cell, edge, plan.operations[operation], effect))
    return phase, (architecture, edge, operation), out


@pytest.mark.parametrize("effect", [nan, refusing, backward(nan), backward(refusing)])
def test_finalists_whose_operation_fails_leave_and_the_others_compete_as_without_them(
    effect: Effect,
    checkpoint: Path,
    breaks: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    phase, place, out = broken_finals(checkpoint, breaks, effect)
    outcome = hold(phase, Points("finalists", tmp_path / "points"), before=0.5)
    assert outcome.failed.keys() == out
    assert len({*outcome.failed.values()}) == 1
    reason = outcome.failed[min(out)]
    assert re.fullmatch(r"cell \d \(.*\), edge from source \d to node \d, .*: .*", reason)
    assert "no such kernel" in reason or "made NaN of finite" in reason
    said = capsys.readouterr().out
    for number in out:
        assert f"finalists: number {number} of 4 leaves: {reason}\n" in said
    document = outcome.document()
    assert document["failed"] == [{"finalist": number, "reason": reason} for number in sorted(out)]
    assert disabled(phase.searched.logits)[place]
    assert {row["finalist"] for row in outcome.rows} == {*range(4)} - out
    others = finals(checkpoint, context(48), **FOUR)
    others = replace(others, failed=dict.fromkeys(out, ""))
    state, rows = run(others, Points("finalists", tmp_path / "others"))
    assert (state.finalists[0].number, rows) == (outcome.winner, outcome.rows)


def test_finals_that_were_killed_end_alike_whatever_failed(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "KEPT_POINTS", 99)
    fresh, _, out = broken_finals(checkpoint, breaks, backward(nan))
    whole = Points("finalists", tmp_path / "whole")
    outcome = hold(fresh, whole, before=0.5)
    written = sorted(whole.folder.rglob("*.safetensors"))
    brackets = {path.parent for path in written}
    assert brackets == {whole.folder, whole.folder / f"without-{len(out)}"}
    for path in written:
        points = Points("finalists", tmp_path / f"{path.parent.name} {path.stem}")
        for earlier in written[: written.index(path) + 1]:
            copy = points.folder / earlier.relative_to(whole.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(earlier, copy)
        again = finals(checkpoint, context(48), **FOUR)
        assert hold(again, points, before=0.5) == outcome
        assert disabled(again.searched.logits).equal(disabled(fresh.searched.logits))
        for name in (one.relative_to(whole.folder) for one in written):
            assert (points.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def line_of(phase: Finals, folder: Path) -> str:
    """Hold finals that fail; return their line."""
    with pytest.raises(TrainingFailedError) as caught:
        hold(phase, Points("finalists", folder / "points"), before=0.5)
    line, code = ending(caught.value) or ("", 0)
    assert code == 3
    assert "\n" not in line
    return line


def test_if_no_finalist_is_left_the_run_ends_with_a_line(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    phase, _, out = broken_finals(checkpoint, breaks, nan)
    alike = replace(phase, entrants=[phase.entrants[min(out)]] * 2)
    line = line_of(alike, tmp_path)
    assert re.match(r"finalists: epoch 1: cell \d .*: made NaN of finite inputs; ", line)


def test_so_it_does_if_more_operations_fail_than_may(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    phase, *_ = broken_finals(checkpoint, breaks, refusing, max_disabled=0)
    line = line_of(phase, tmp_path)
    assert re.match(r"finalists: cell \d .*: ValueError: no such kernel; training.max_disa", line)


def test_so_it_does_if_skip_connections_fail(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    phase = finals(checkpoint, context(48), **FOUR)
    breaks(*((0, edge, "skip_connect", backward(nan)) for edge in range(5)))
    assert "skip_connect: made NaN of finite gradients; every edge" in line_of(phase, tmp_path)


def test_a_lack_of_memory_is_none_of_a_finalist(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    phase, *_ = broken_finals(checkpoint, breaks, lacking)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        hold(phase, Points("finalists", tmp_path / "points"), before=0.5)
    assert (ending(caught.value) or ("", 0))[1] == 4


@pytest.mark.parametrize("effect", [nan, refusing])
def test_a_candidate_whose_operation_fails_does_not_enter(
    effect: Effect,
    checkpoint: Path,
    breaks: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, (architecture, edge, operation), _ = broken_finals(checkpoint, breaks, effect)
    phase = finals(checkpoint, context(48), **FOUR)
    supernet = phase.searched
    assert disabled(supernet.logits).nonzero().tolist() == [[architecture, edge, operation]]
    assert len(phase.entrants) > 1
    for one in phase.entrants:
        active = genotype_weights(one, supernet.network.blueprint).active
        assert operation not in active[architecture][edge]
    said = capsys.readouterr().out
    assert re.search(r"finalists: cell \d .*: (made NaN|ValueError).*; going on without", said)


def test_the_genotype_of_the_winner_runs_nothing_that_failed(
    checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    phase, (architecture, edge, operation), _ = broken_finals(checkpoint, breaks, nan)
    outcome = hold(phase, Points("finalists", tmp_path / "points"), before=0.5)
    plan = phase.searched.network.blueprint
    genotype = decide(phase.searched.logits, plan)
    assert genotype == phase.entrants[outcome.winner or 0]
    assert operation not in genotype_weights(genotype, plan).active[architecture][edge]
    assert 0 <= outcome.accuracy <= 1
