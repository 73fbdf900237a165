"""The training of a fixed network ends with one line that names the operation that fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.lacks import ending
from pipeline.optimizing.optimize import Optimize
from pipeline.space.network import Network
from pipeline.space.registry import SPACES
from pipeline.training import resume
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.breaking import Effect, backward, infinite, lacking, nan, refusing
from tests.conftest import context, of_space, tiny_blueprint, tiny_network, write_supernet
from tests.phases import PHASES, optimizing
from tests.test_resume import here  # noqa: F401 - a fixture of every test here

FAILURES: list[tuple[Effect, str]] = [
    (nan, "made NaN of finite inputs"),
    (infinite, "made infinity of finite inputs"),
    (refusing, "ValueError: no such kernel"),
    (backward(nan), "made NaN of finite gradients"),
    (backward(refusing), "ValueError in the backward pass: no such kernel"),
]
"""What an operation does, and how it is said."""


def line_of(phase: Optimize[Any], points: Points) -> str:
    """Run a phase whose training fails; return its line."""
    with pytest.raises(TrainingFailedError) as caught:
        run(phase, points)
    line, code = ending(caught.value) or ("", 0)
    assert code == 3
    assert "\n" not in line
    return line


def first_operation(network: Network) -> tuple[int, int, str]:
    """Return cell, edge and name of the first operation that runs."""
    return next(
        (cell, edge, name)
        for cell, found in enumerate(network.cells)
        for edge, one in enumerate(found.edges)
        for name in one.operations
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("effect", "what"), FAILURES)
def test_the_line_says_where_the_operation_is_and_what_it_did(
    space: str, effect: Effect, what: str, breaks: Callable[..., None], tmp_path: Path
) -> None:
    made = tiny_network(tiny_blueprint(**of_space(space)))
    phase = optimizing(write_supernet(tmp_path / "checkpoint.safetensors", made))
    cell, edge, operation = first_operation(phase.begin().network)
    breaks((cell, edge, operation, effect))
    line = line_of(phase, Points("optimize", tmp_path / "points"))
    kind, (source, node) = made.blueprint.cells[cell].kind, made.blueprint.edges[edge]
    where = f"cell {cell} ({kind}), edge from source {source} to node {node}, {operation}"
    assert line.startswith(f"optimize: epoch 1: {where}: {what}; ")
    advice = "is fixed; take it out of network.operations and search again"
    assert line.endswith("its input may be too large" if operation == "skip_connect" else advice)


def test_so_it_does_with_everything_that_training_may_have(
    breaks: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    phase: Any = PHASES["optimize with everything"](checkpoint)
    cell, edge, operation = first_operation(phase.begin().network)
    breaks((cell, edge, operation, backward(infinite)))
    line = line_of(phase, Points("optimize", tmp_path / "points"))
    assert f"node 0, {operation}: made " in line
    assert "of finite gradients; " in line


def test_an_epoch_before_is_kept_and_a_rerun_says_the_same(
    breaks: Callable[..., None],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resume, "KEPT_POINTS", 99)
    phase, points = optimizing(checkpoint, epochs=3), Points("optimize", tmp_path / "points")
    run(phase, points)
    first, *later = sorted(points.folder.iterdir())
    for path in later:
        path.unlink()
    cell, edge, operation = first_operation(phase.begin().network)
    breaks((cell, edge, operation, backward(nan)))
    line = line_of(phase, points)
    assert line.startswith(f"optimize: epoch 2: cell {cell} (normal), edge from source ")
    assert list(points.folder.iterdir()) == [first]
    assert line_of(phase, points) == line


@pytest.mark.parametrize("effect", [lacking, backward(lacking)])
def test_a_lack_of_memory_stays_one(
    effect: Effect, breaks: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    phase = optimizing(checkpoint)
    cell, edge, operation = first_operation(phase.begin().network)
    breaks((cell, edge, operation, effect))
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        run(phase, Points("optimize", tmp_path / "points"))
    assert (ending(caught.value) or ("", 0))[1] == 4


def test_weights_that_diverge_are_the_fault_of_the_rates_and_of_no_operation(
    checkpoint: Path, tmp_path: Path
) -> None:
    for number, learning_rate in enumerate([1e6, 1e12, 1e20]):
        phase: Any = optimizing(checkpoint, context(48, max_recoveries=1))
        changes = {"learning_rate": learning_rate, "schedule": "constant"}
        phase = Optimize(
            context=phase.context,
            params=phase.params.model_copy(update=changes),  # beyond what may be asked for
            fresh=phase.fresh,
            watch=phase.watch,
        )
        line = line_of(phase, Points("optimize", tmp_path / str(number)))
        assert "is nan, at 0.5 times the learning rates of optimize too; lower them" in line
