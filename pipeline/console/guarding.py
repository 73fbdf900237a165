"""The files of a stage, guarded from its start to the moment at which DVC has recorded them.

DVC hashes inputs and outputs after a stage has ended. Until then, `dvc checkout`, `dvc pull` or
`dvc exp apply` can put older files in their place, which DVC would record as those of this run. So
a stage refuses to finish if an input was replaced, and leaves a record of what it wrote. The next
stage that the same DVC runs compares it with its inputs, `aso-se run` with `dvc.lock`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.harness import ranks
from pipeline.harness.errors import FileReplacedError
from pipeline.harness.places import WRITTEN
from pipeline.harness.records import write_json
from pipeline.harness.written import NOTES, Written, identity, md5

PARENT = "ASO_SE_PARENT"
"""Variable with the process that runs the stage, for ranks, whose parent is their launcher."""
STAGE = "DVC_STAGE"
"""Variable with the stage's name, which DVC sets."""

SMALL_BYTES = 16 << 20
"""Size up to which an input is compared by its content, not by its size and time."""

Contents = Mapping[Path, str]
"""What tells the content of each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a stage wrote.

    runner: number of the process that ran it. began: see `_began`. files: by path.
    """

    stage: str
    runner: int
    began: str
    files: Mapping[str, Written]


def remember_files(inputs: Sequence[Path], out: Path) -> Contents:
    """Return what tells the content of the inputs; from now on, note what is written in `out`.

    Raises:
        FileReplacedError: an input is not what an earlier stage of the same DVC wrote.
    """
    if STAGE in os.environ:
        NOTES.folder = out
        if ranks.count() == 1:  # ranks follow their launcher, which has compared them
            _compare_with_records(inputs)
    return dict(_contents(inputs, out))


def require_kept(at_start: Contents, inputs: Sequence[Path], out: Path) -> None:
    """Leave a record of what the stage wrote.

    Raises:
        FileReplacedError: an input was replaced while the stage ran.
    """
    now = dict(_contents(inputs, out))
    for path, before in at_start.items():
        if now.get(path) != before:
            raise FileReplacedError(f"{path}: replaced while the stage ran; run it again")
    if STAGE in os.environ:
        stage = os.environ[STAGE].rpartition(":")[2]
        files = {str(path): written for path, written in NOTES.files.items()}
        runner = _runner()
        record = Record(stage=stage, runner=runner, began=_began(runner), files=files)
        write_json(WRITTEN / f"{stage}.json", asdict(record))


def read_records(tree: Path, runner: int) -> list[Record]:
    """Return the records that the stages run by a process have left in a tree; remove all others.

    Only these are of the run that DVC has recorded last; after others, a person may have restored
    the files of another experiment.
    """
    found = []
    for path in sorted((tree / WRITTEN).glob("*.json")):
        try:
            record = TypeAdapter(Record).validate_json(path.read_bytes())
        except FileNotFoundError:  # another DVC of this tree has removed it
            continue
        except ValueError:  # of another version
            record = None
        if record and record.runner == runner and _began(runner) in {record.began, ""}:
            found.append(record)
        else:
            path.unlink(missing_ok=True)
    return found


def _runner() -> int:
    """Return the number of the process that runs this stage: DVC, if it runs it."""
    return int(os.environ.get(PARENT) or os.getppid())


def _began(process: int) -> str:
    """Return when a process began, in ticks of the kernel, for its number is used again later.

    It is '' if the process has ended, and where there is no /proc, as on macOS.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]


def _compare_with_records(inputs: Sequence[Path]) -> None:
    for record in read_records(Path(), _runner()):
        moved = {}
        for name, written in record.files.items():
            path = Path(name)
            # A missing one is left to its reader.
            if not any(path.is_relative_to(one) for one in inputs) or not path.is_file():
                continue
            if (found := identity(path.stat())) == written.identity:
                continue
            if md5(path) != written.md5:
                raise FileReplacedError(
                    f"{path}: not what {record.stage} wrote, another command replaced it; run"
                    f" 'dvc repro --force --single-item {record.stage}', then this again"
                )
            moved[name] = Written(written.md5, found)
        if moved:  # a link into DVC's cache: the next stage need not hash it again
            known = replace(record, files={**record.files, **moved})
            write_json(WRITTEN / f"{record.stage}.json", asdict(known))


def _contents(inputs: Sequence[Path], out: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files in the inputs that are not outputs; DVC's own are hidden."""
    for given in inputs:
        for path in given.rglob("*") if given.is_dir() else [given]:
            if path.is_file() and not path.name.startswith(".") and not path.is_relative_to(out):
                status = path.stat()
                small = status.st_size <= SMALL_BYTES
                yield path, md5(path) if small else f"{status.st_size} {status.st_mtime_ns}"
