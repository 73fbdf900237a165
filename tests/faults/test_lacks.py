"""Without memory, threads or open files a stage ends with one line and exit code 4, or it is right.

Each is made to fail from its first, second, fourth ... use on, until a stage does without. What the
machine lacked is never taken for a fault of a file. `pytest -m slow` tries all stages, closer by.
"""

import pytest

from tests.faults.injected.workplace import COMMANDS, OLD, Workplace

pytestmark = pytest.mark.xdist_group("faults")

LACKS = {
    "thread": ("EAGAIN", "no more threads or processes: "),
    "descriptor": ("EMFILE", "no more open files: "),
    "tensor": ("ENOMEM", "out of memory: "),
}
"""Operation -> name of its error, and the beginning of the line."""


def lack(place: Workplace, stage: str, operation: str, factor: float) -> int:
    """Fail from ever later uses on; return how often it ended the stage."""
    error, begin = LACKS[operation]
    number, ended_early = 1, 0
    while True:
        place.rewind(stage)
        ended = place.run(stage, f"{operation} {number}: {error}")
        if ended.code == 0:
            assert place.artifacts(stage) == place.whole[stage], (number, ended)
            return ended_early
        assert ended.code == 4, (number, ended)
        assert len(ended.errors.splitlines()) == 1, (number, ended)
        assert begin in ended.errors, (number, ended)
        for name, content in place.artifacts(stage).items():
            assert content in (OLD, place.whole[stage][name]), (number, name)
        ended_early += 1
        number = int(number * factor) + 1


@pytest.mark.parametrize(
    ("stage", "operation"),
    [
        ("prepare", "thread"),
        ("prepare", "descriptor"),
        ("warmup", "descriptor"),
        ("warmup", "tensor"),
        ("derive", "tensor"),
        ("export", "descriptor"),
    ],
)
def test_a_lack_at_any_instant_is_one_line(place: Workplace, stage: str, operation: str) -> None:
    assert lack(place, stage, operation, factor=5) > 0


@pytest.mark.slow
@pytest.mark.parametrize("operation", LACKS)
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_lack_at_many_instants_of_any_stage_is_one_line(
    place: Workplace, stage: str, operation: str
) -> None:
    lack(place, stage, operation, factor=1.2)
