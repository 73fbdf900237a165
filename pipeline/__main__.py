"""`aso-se`: a small command line; each command is a thin call."""

import argparse
import sys
from pathlib import Path

from pipeline.console.interruption import INTERRUPTED
from pipeline.console.progress import say
from pipeline.harness.errors import AsoSeError, ParamsError
from pipeline.harness.params_file import PARAMS_FILE, read_params
from pipeline.params import Params
from pipeline.running.params_file import use_params

PROFILES = Path("profiles")


def main() -> None:
    """Run one command; exit 1 with one line per mistake that the user can put right."""
    arguments = _parser().parse_args()
    try:
        sys.exit(arguments.call(arguments))
    except AsoSeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aso-se", description="Search, grow, train and export a classifier."
    )
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="run what changed; safe to kill, safe to run twice")
    running.add_argument("targets", nargs="*", help="stages to bring up to date; without, all")
    running.add_argument("--force", action="store_true", help="run them, changed or not")
    running.set_defaults(call=run)
    standing = commands.add_parser("status", help="where each stage stands, and what to do next")
    standing.set_defaults(call=status)
    verifying = commands.add_parser("verify", help="hash the artifacts and compare with dvc.lock")
    verifying.set_defaults(call=verify)
    checking = commands.add_parser("check", help="validate a params file as a whole")
    checking.add_argument("file", nargs="?", type=Path, default=PARAMS_FILE)
    checking.set_defaults(call=lambda arguments: check(arguments.file))
    choosing = commands.add_parser("profile", help="make one of profiles/ the params.yaml")
    choosing.add_argument("name")
    choosing.set_defaults(call=lambda arguments: choose_profile(arguments.name))
    predicting = commands.add_parser("predict", help="name what is on images with a model")
    predicting.add_argument("model", type=Path, help="an exported model.onnx")
    predicting.add_argument("images", nargs="+", help="files, folders or patterns such as '*.png'")
    predicting.add_argument("--top", type=int, default=3, metavar="N", help="classes per image (3)")
    predicting.add_argument("--json", action="store_true", help="one JSON document, for programs")
    predicting.set_defaults(call=predict)
    serving = commands.add_parser("serve", help="offer the flows to a Prefect server and run them")
    serving.add_argument("--cron", help="when to run nightly by itself, such as '0 2 * * *'")
    serving.add_argument("--timezone", default="UTC", help="of --cron, such as Europe/Berlin")
    serving.set_defaults(call=serve)
    sweeping = commands.add_parser("sweep", help="run and rank experiments over some params")
    sweeping.add_argument(
        "space",
        nargs="+",
        metavar="KEY=VALUES",
        help="search.arch_update_freq=3,5,7, or with --trials search.arch_reach=2.0..16.0"
        " (2..16 tries whole numbers only)",
    )
    sweeping.add_argument("--name", help="of the sweep; the same name goes on with an Optuna study")
    sweeping.add_argument("--trials", type=_count, help="of an Optuna study; without, a grid")
    sweeping.add_argument(
        "--objective",
        default="growth.validation_accuracy",
        metavar="STAGE.METRIC",
        help="of docs/metrics.md (growth.validation_accuracy)",
    )
    sweeping.add_argument("--minimize", action="store_true", help="less of it is better")
    sweeping.add_argument(
        "--max-parallel",
        type=_count,
        default=1,
        help="experiments at once, each with its share of the cores and so other last bits",
    )
    sweeping.set_defaults(call=sweep)
    return parser


def _count(word: str) -> int:
    """Return a whole number of 1 or more; argparse tells of any other word."""
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {word!r}")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Bring the tree up to date; return the exit code."""
    from pipeline.running.front import run_safely  # noqa: PLC0415 - psutil comes with DVC

    return run_safely(Path.cwd(), arguments.targets, force=arguments.force)


def status(_: argparse.Namespace) -> int:
    """Say where each stage stands and what changed since; return 0."""
    from pipeline.running.status import report  # noqa: PLC0415 - a check needs none of this

    return report(Path.cwd())


def verify(_: argparse.Namespace) -> int:
    """Say how the artifacts differ from `dvc.lock`; return 1 if they do."""
    from pipeline.running.verifying import report  # noqa: PLC0415 - the cache is DVC's

    return report(Path.cwd())


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
    if not PROFILES.is_dir():
        raise ParamsError(f"{PROFILES}: no such folder; run this in a clone of the project")
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
        raise ParamsError(f"{source}: no such profile; there are: {known}")
    check(source)
    if kept := use_params(Path(), source.read_text(encoding="utf-8")):
        say(f"{kept}: your own {PARAMS_FILE} as it was")
    say(f"{PARAMS_FILE}: now {source}; 'aso-se run' runs it")


def predict(arguments: argparse.Namespace) -> int:
    """Print what is on images; return 1 if the model or one of them could not be used."""
    from pipeline.predicting import show  # noqa: PLC0415 - the rest wants no ONNX Runtime

    return show(arguments.model, arguments.images, top=arguments.top, as_json=arguments.json)


def serve(arguments: argparse.Namespace) -> None:
    """Serve the flows until interrupted."""
    from pipeline.flows.serving import serve_flows  # noqa: PLC0415 - prefect takes seconds

    serve_flows(arguments.cron, arguments.timezone)


def sweep(arguments: argparse.Namespace) -> None:
    """Run a sweep here and now, and print the best of it; raises ParamsError and RunError."""
    from pipeline.flows.command_line import sweep_from_words  # noqa: PLC0415 - prefect takes seconds

    sweep_from_words(
        arguments.space,
        name=arguments.name,
        trials=arguments.trials,
        objective=arguments.objective,
        direction="minimize" if arguments.minimize else "maximize",
        max_parallel=arguments.max_parallel,
    )


if __name__ == "__main__":
    main()
