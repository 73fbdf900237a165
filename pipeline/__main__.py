"""`aso-se`: a small command line; each command is a thin call."""

import argparse
import sys
from pathlib import Path

from pipeline.errors import AsoSeError, ParamsError
from pipeline.exchange.files import write_atomically
from pipeline.exchange.params import PARAMS_FILE, read_params
from pipeline.exchange.progress import say
from pipeline.params import Params

PROFILES = Path("profiles")


def main() -> None:
    """Run one command; exit 1 with one line per mistake that the user can put right."""
    parser = argparse.ArgumentParser(
        prog="aso-se", description="Search, grow, train and export a classifier."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="validate a params file as a whole")
    checking.add_argument("file", nargs="?", type=Path, default=PARAMS_FILE)
    choosing = commands.add_parser("profile", help="make one of profiles/ the params.yaml")
    choosing.add_argument("name")
    arguments = parser.parse_args()
    try:
        if arguments.command == "check":
            check(arguments.file)
        else:
            choose_profile(arguments.name)
    except AsoSeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def check(path: Path) -> None:
    """Validate a params file; raises ParamsError with a line per mistake."""
    read_params(Params, path, whole=True)
    say(f"{path}: valid")


def choose_profile(name: str) -> None:
    """Make a profile the `params.yaml`; one that was edited by hand is kept beside it.

    Raises:
        ParamsError: there is no profile of that name.
    """
    source = PROFILES / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
        raise ParamsError(f"{source}: no such profile; there are: {known}")
    check(source)
    profiles = [path.read_bytes() for path in PROFILES.glob("*.yaml")]
    if PARAMS_FILE.exists() and PARAMS_FILE.read_bytes() not in profiles:
        kept = PARAMS_FILE.with_suffix(".yaml.before")
        PARAMS_FILE.replace(kept)
        say(f"{kept}: your own {PARAMS_FILE} as it was")
    write_atomically(PARAMS_FILE, source.read_bytes())
    say(f"{PARAMS_FILE}: now {source}; 'dvc repro' runs it")


if __name__ == "__main__":
    main()
