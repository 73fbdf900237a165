"""The table of references, each compared with the found network."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from pipeline.comparison.references import Reference, References, Skipped
from pipeline.console.progress import say
from pipeline.referencing.compare import compare
from pipeline.referencing.kinds import KINDS
from pipeline.referencing.params import KindName
from pipeline.referencing.problem import Answer, Problem


def measure(
    kinds: Sequence[KindName], problem: Problem, right: Tensor, ready: Callable[[KindName], None]
) -> References:
    """Try each reference and print its accuracy.

    right: (N,), true where the found network's answer to a test image is right. ready: function
    that waits for a reference which another process trains.
    """
    labels = problem.test.labels.cpu().numpy()
    compared: list[Reference] = []
    skipped: list[Skipped] = []
    for name in kinds:
        kind = KINDS[name]
        ready(name)
        answer = kind.answer(problem)
        if isinstance(answer, Answer):
            told = compare(right.numpy(), answer.predicted == labels, name=name, title=kind.title)
            one = replace(told, parameters=answer.parameters, epochs=answer.epochs)
            compared.append(one)
            say(f"reference: {one.title}: test accuracy {one.test_accuracy:.2%}")
        else:
            skipped.append(Skipped(title=kind.title, reason=answer.reason))
            say(f"reference: {kind.title}: {answer.reason}")
    return References(compared=tuple(compared), skipped=tuple(skipped))


def metrics(references: References) -> dict[str, float | str]:
    """Return the accuracy of each reference, and how far the found network is ahead of the best."""
    found: dict[str, float | str] = {one.name: one.test_accuracy for one in references.compared}
    if best := references.best:
        found |= {"best": best.name, "ahead_of_best": best.difference, "p_value": best.p_value}
    return found
