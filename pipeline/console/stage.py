"""The start and the end of a stage: paths and params in, one line and an exit code out.

DVC records the hashes of code and params after a stage has run. If either was edited meanwhile,
DVC would record the new hash with the old code's result; such a stage refuses to finish.
"""

import hashlib
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from pipeline.console.ending import InOneLine
from pipeline.console.guarding import PARENT, remember_files, require_kept
from pipeline.console.interruption import TOLD
from pipeline.harness import ranks
from pipeline.harness.errors import CodeChangedError, DeviceError, ExitCode
from pipeline.harness.params_file import PARAMS_FILE, read_params
from pipeline.harness.section import Section

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pipeline", "stages")
"""Where the project's code is."""
P = TypeVar("P", bound=Section)
Finish = Callable[[], None]


def _digests() -> dict[Path, str]:
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}


@dataclass(slots=True)
class Code:
    """The project's code when the stage began: path -> sha256."""

    at_start: dict[Path, str] = field(default_factory=dict)


CODE = Code()
"""The code of this process, which runs one stage."""


def remember_code() -> None:
    """Hash the code before anything slow is imported, so that the hashes are of what runs."""
    CODE.at_start = _digests()


def run_stage(
    model: type[P],
    main: Callable[..., Finish | None],
    *,
    together: bool = False,
    whole: bool = False,
) -> None:
    """Run `main(params, *paths)` with the sections of `model` and the paths of the command line.

    main: the stage; may return a function to call once its result is valid, such as one that
    removes resume points. together: whether `ASO_SE_PROCESSES` processes may run it. whole: whether
    all of `params.yaml` must be valid, not only what `model` names.

    An error that a user can fix becomes one line and its exit code; a wrong command line exits
    with 2.
    """
    _, *names = inspect.signature(main).parameters
    arguments = sys.argv[1:]
    if len(arguments) != len(names):
        usage = " ".join(name.upper() for name in names)
        sys.stderr.write(f"usage: python -m stages.{Path(sys.argv[0]).stem} {usage}\n")
        sys.exit(ExitCode.USAGE)
    if not CODE.at_start:  # not run as `python -m stages.NAME`, which hashes it sooner
        remember_code()
    with InOneLine(arguments[-1]):
        params = read_params(model, whole=whole)
        *inputs, out = map(Path, arguments)
        at_start = remember_files(inputs, out)
        processes = _processes() if together else 1
        if processes > 1 and ranks.count() == 1:
            _become_several(processes)
        finish = main(params, *inputs, out)
        _require_unchanged(params, whole=whole)
        require_kept(at_start, inputs, out)
        if finish:
            finish()


def _processes() -> int:
    """Return the number of processes to run; raise DeviceError if the setting is no number."""
    named = os.environ.get("ASO_SE_PROCESSES") or "1"
    if not named.isdecimal() or int(named) == 0:
        raise DeviceError(f"ASO_SE_PROCESSES={named}: expected a number of processes, 1 or more")
    return int(named)


def _become_several(processes: int) -> NoReturn:
    """Run this command in several processes and exit with the code of the first that failed."""
    # torch takes seconds, and a stage that runs alone needs none of this.
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    logging.disable(logging.CRITICAL)  # the processes report their own errors
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signal.raise_signal(TOLD))
    os.environ[PARENT] = str(os.getppid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"aso-se-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=TOLD.name,
    )
    code: int = ExitCode.DONE
    try:
        stage = ["-m", f"stages.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        elastic_launch(config, sys.executable)(*stage)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
    except SignalException:
        code = ExitCode.INTERRUPTED
    sys.exit(code if code >= 0 else 128 - code)  # as shells report a signal


def code_in_use() -> dict[str, str]:
    """Return the sha256 of each of the project's files that this process runs, as at its start."""
    loaded = {
        Path(file).resolve()
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in {*FOLDERS, "__main__"}  # resolving thousands takes 0.2 s
        and (file := getattr(module, "__file__", None))
    }
    return {
        str(path.relative_to(ROOT)): digest
        for path, digest in (CODE.at_start or _digests()).items()
        if path in loaded
    }


def _require_unchanged(params: Section, *, whole: bool) -> None:
    now = _digests()
    for name, digest in code_in_use().items():
        if now.get(ROOT / name) != digest:
            raise CodeChangedError(f"{name}: edited while the stage ran; run it again")
    if read_params(type(params), whole=whole) != params:
        raise CodeChangedError(f"{PARAMS_FILE}: edited while the stage ran; run it again")
