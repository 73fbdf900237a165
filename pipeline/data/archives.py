"""An archive of images, unpacked into a folder that the caller removes."""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.console.progress import say
from pipeline.data.listing import Folder, has_images, named_as_images, of_kind
from pipeline.data.params import TABLES
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
KINDS = frozenset({".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2"})
"""Kinds of files that may be archives (`pipeline/data/kinds.py`)."""
BESIDE = TABLES | {".parquet"}
"""Kinds of files that an archive may belong to."""
ENCRYPTED = 1
"""Bit of a zip member's flags."""
CHUNK_BYTES = 1 << 20
DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,  # a NotImplementedError is one: an unknown method of compression
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""Errors of the standard library on a damaged or hostile archive."""


def is_archive(path: Path) -> bool:
    """Whether the name of a file is that of an archive that can be unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def only_archive(tree: Folder) -> Path | None:
    """Return the archive that a folder holds, if it holds no images.

    Raises:
        DataError: it holds several, or a table beside one.
    """
    found = [path for path in of_kind(tree, KINDS) if is_archive(path)]
    if not found or named_as_images(tree) or any(map(has_images, tree.folders)):
        return None
    several = [*found, *of_kind(tree, BESIDE)]
    if len(several) > 1:
        names = " and ".join(shown(path.name) for path in several[:2])
        raise DataError(
            f"{shown(tree.path)}: no images, but {names}; unpack what holds the images in this"
            " folder, or set data.path to the only file that is needed"
        )
    return found[0]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder, out of which none of its names can lead.

    Raises:
        DataError: it is damaged, encrypted, unsafe or empty.
        OSError: the disk is full.
    """
    say(f"unpacking {shown(archive)}")
    folder.mkdir(parents=True)
    with written_out(archive, "a readable archive"):
        if archive.suffix.lower() == ".zip":
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    if not any(folder.iterdir()):
        raise DataError(f"{shown(archive)}: an empty archive")


@contextmanager
def written_out(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of a file that is written out to a temporary folder into one line.

    kind: what the file should be.

    Raises:
        DataError: it is not that. OSError: the disk is full, which another exit code tells.
    """
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            reason = "no space left to unpack it"
            raise OSError(error.errno, reason, shown(path)) from None
        raise DataError(f"{shown(path)}: not {kind} ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, tarfile.FilterError):  # its own words name the temporary folder
        return f"{shown(error.tarinfo.name)} would lead out of it"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(" ".join(said.split())) or type(error).__name__


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        written = set[str]()
        for member in file.infolist():
            if member.flag_bits & ENCRYPTED:
                raise DataError(f"{shown(archive)}: encrypted; unpack it with its password")
            member.filename = member.filename.replace("\\", "/")  # of some programs on Windows
            path = file.extract(member, folder)  # leaves out '..', drives and a leading '/'
            if path in written and not member.is_dir():
                name = shown(Path(path).relative_to(folder))
                raise DataError(f"{shown(archive)}: two files called {name}; rename or remove one")
            written.add(path)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        # Of two members of one name the last is the newer one: so does tar append (tar -r).
        file.extractall(folder, filter="data")
        _require_end(file)


def _require_end(file: tarfile.TarFile) -> None:
    """Raise ReadError if a tar archive is cut off between two files, which tarfile lets pass."""
    content = file.fileobj
    assert content is not None
    content.seek(file.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")
    while content.read(CHUNK_BYTES):  # checksums come at the end
        pass
