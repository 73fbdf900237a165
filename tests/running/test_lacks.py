"""`aso-se` without threads or processes: one line and exit code 4, and nothing waits forever."""

import pytest

from tests.running.test_file_systems import aso_se
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("run", "thread 1: EAGAIN"),
        ("run", "process 1: EAGAIN"),
        ("status", "process 1: EAGAIN"),
        ("verify", "process 1: EAGAIN"),
    ],
)
def test_a_command_without_threads_or_processes_is_one_line(
    toy: Toy, command: str, fault: str
) -> None:
    done = aso_se(command, fault=fault)
    *_, line = done.stderr.splitlines()
    assert (done.returncode, line.partition(":")[0]) == (4, "no more threads or processes")
    assert "Traceback" not in done.stderr
    assert toy.ran() == []
