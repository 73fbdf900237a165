"""DVC's default remote: its name, and everything that it holds for a tree, fetched anew."""

import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.console.progress import say
from pipeline.harness.errors import RunError
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.places import GRAPH, READ_BACK
from pipeline.running.experiments import dvc
from pipeline.running.recorded import DVC_LOCK, FOLDER, read_outputs


def default_remote(tree: Path) -> str:
    """Return the name of the default remote; raise RunError if there is none."""
    name = dvc(tree, "config", "core.remote")
    if not name:
        raise RunError(
            "this project has no default DVC remote; 'dvc remote add --default NAME URL'"
        )
    return name


@contextmanager
def fetched(tree: Path) -> Iterator[Path]:
    """Yield a folder with the objects of `dvc.lock` that the remote has; it is removed at the end.

    They are fetched into a project of their own, which has no other cache. Its settings may hold
    keys, so nobody else may read it.

    If only some come, it says what DVC says.

    Raises:
        RunError: the remote does not answer.
    """
    folder = tree / READ_BACK
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        for name in (GRAPH, DVC_LOCK, PARAMS_FILE):
            shutil.copy(tree / name, folder)
        (folder / ".dvc").mkdir()
        with (folder / ".dvc" / "config").open("w", encoding="utf-8") as file:
            _settings(tree).write(file)
        objects = folder / ".dvc" / "cache" / "files" / "md5"
        try:
            dvc(folder, "fetch")
        except RunError as error:  # also if a folder's list is there, and a file of it is not
            if not objects.exists():
                raise
            say(str(error))
            _fetch_lists(tree, folder, objects)
        yield objects
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch_lists(tree: Path, folder: Path, objects: Path) -> None:
    """Fetch the lists of folders, which `dvc fetch` leaves out if a file of theirs is missing."""
    for digest in read_outputs(tree).values():
        place = f"{digest[:2]}/{digest[2:]}"
        if digest.endswith(FOLDER) and not (objects / place).exists():
            (objects / place).parent.mkdir(parents=True, exist_ok=True)
            source = f"remote://{default_remote(tree)}/files/md5/{place}"
            with suppress(RunError):  # it is missing too, which is told
                dvc(folder, "get-url", source, str((objects / place).absolute()))


def _settings(tree: Path) -> ConfigParser:
    """Return all settings of DVC in a tree but for its cache, with whole paths."""
    settings = ConfigParser(interpolation=None)
    for line in dvc(tree, "config", "--list").splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        kind, _, name = section.partition(".")
        if kind != "cache":
            section = f"'{kind} \"{name}\"'" if name else kind
            settings.read_dict({section: {option: _quoted(value)}})
    settings.read_dict({"core": {"no_scm": "true"}})
    return settings


def _quoted(value: str) -> str:
    """Return a value in quotes that it does not hold: a password may hold '#' or ','."""
    quote = next(one for one in ('"', "'", '"' * 3) if one not in value)
    return f"{quote}{value}{quote}"
