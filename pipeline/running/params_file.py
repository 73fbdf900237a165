"""The `params.yaml` with which a tree runs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.harness.errors import ParamsError
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.profiles import PROFILES, read_profile


def use_params(tree: Path, text: str) -> Path | None:
    """Make `text` the `params.yaml` of a tree, unless it is already.

    Returns:
        Path of a copy of the old file, if that was edited by hand and is not a profile's.
    """
    path = tree / PARAMS_FILE
    if not path.exists():
        write_atomically(path, text.encode())
        return None
    old = path.read_bytes()
    if old == text.encode():
        return None
    kept = None
    if old not in _profiles(tree):
        names = (path.with_suffix(f".yaml.before{number}") for number in ("", *range(2, 10**6)))
        kept = next(name for name in names if not name.exists() or name.read_bytes() == old)
        write_atomically(kept, old)
    write_atomically(path, text.encode())
    return kept


def _profiles(tree: Path) -> Iterator[bytes]:
    """Yield the `params.yaml` of each profile that is valid."""
    for path in (tree / PROFILES).glob("*.yaml"):
        with suppress(ParamsError):
            yield read_profile(tree, path.stem).encode()
