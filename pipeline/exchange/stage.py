"""How a stage starts and ends.

Paths and params in, one line and an exit code out, no result from edited code.

DVC records the hashes of code and params after a stage has run. If either was edited meanwhile,
the new hash would be recorded with the old code's result; such a stage refuses to finish.
"""

import errno
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline import ranks
from pipeline.errors import AsoSeError, CodeChangedError, DeviceError, is_lack_of_memory
from pipeline.exchange.params import PARAMS_FILE, read_params
from pipeline.section import Section

ROOT = Path(__file__).resolve().parents[2]
P = TypeVar("P", bound=Section)
EXHAUSTED = 4
"""Exit code: memory, disk or device cannot do it now; later, they may."""


def _digests() -> dict[Path, str]:
    sources = [
        path for folder in ("pipeline", "stages") for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}


# Taken when this module is imported, before torch is: the code that runs is the code that was
# hashed.
_AT_START = _digests()


def run_stage(model: type[P], main: Callable[..., None], *, together: bool = False) -> None:
    """Run `main(params, *paths)` with the sections of `model` and the paths of the command line.

    together: whether several processes may do it, as many as `ASO_SE_PROCESSES` says.

    An error that a user can put right becomes one line and its exit code; a wrong command line
    exits with 2.
    """
    names = list(main.__annotations__)[1:-1]
    arguments = sys.argv[1:]
    if len(arguments) != len(names):
        usage = " ".join(name.upper() for name in names)
        sys.stderr.write(f"usage: python -m stages.{Path(sys.argv[0]).stem} {usage}\n")
        sys.exit(2)
    try:
        if together and ranks.count() == 1:
            _become_several(os.environ.get("ASO_SE_PROCESSES", "1"))
        params = read_params(model)
        main(params, *map(Path, arguments))
        _require_unchanged(model, params)
    except AsoSeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if is_lack_of_memory(error):
            line = f"out of memory: {reason}; free some, or choose a smaller network"
        elif type(error).__name__ == "AcceleratorError":
            line = f"the device failed: {reason}; run it again, or elsewhere (ASO_SE_DEVICE)"
        else:
            raise
        sys.stderr.write(f"{line}\n")
        sys.exit(EXHAUSTED)
    except OSError as error:
        sys.stderr.write(f"{error.filename or arguments[-1]}: {error.strerror or error}\n")
        sys.exit(EXHAUSTED if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else 1)


def _become_several(processes: str) -> None:
    """Run this command again, under torchrun, unless one process is enough; do not return.

    Raises:
        DeviceError: that is no number of processes.
    """
    if not processes.isdecimal() or processes == "0":
        raise DeviceError(
            f"ASO_SE_PROCESSES={processes}: expected a number of processes, 1 or more"
        )
    if processes != "1":
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        stage = ["-m", f"stages.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        os.execv(sys.executable, [sys.executable, "-m", *torchrun, *stage])  # noqa: S606


def code_in_use() -> dict[str, str]:
    """Return the sha256 of each of the project's files that this process runs, as at its start."""
    loaded = {
        Path(file).resolve()
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    return {
        str(path.relative_to(ROOT)): digest for path, digest in _AT_START.items() if path in loaded
    }


def _require_unchanged(model: type[P], params: P) -> None:
    now = _digests()
    for name, digest in code_in_use().items():
        if now.get(ROOT / name) != digest:
            raise CodeChangedError(f"{name}: edited while the stage ran; run it again")
    if read_params(model) != params:
        raise CodeChangedError(f"{PARAMS_FILE}: edited while the stage ran; run it again")
