"""`aso-se`: a small command line; each command is a thin call.

A command's docstring and its annotations are what `aso-se COMMAND --help` shows.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from pipeline.console.ending import InOneLine
from pipeline.console.progress import say
from pipeline.experiment_commands import experiments
from pipeline.harness.errors import ExitCode
from pipeline.harness.params_file import PARAMS_FILE, read_params, read_text
from pipeline.harness.showing import in_lines
from pipeline.model_commands import models
from pipeline.params import Params
from pipeline.profiles import PROFILES, complete, read_profile
from pipeline.running.params_file import use_params
from pipeline.running.redaction import hide

MOST_MINUTES = 1_000_000
"""Largest number of minutes that a run can be planned for: two years."""


class Commands(TyperGroup):
    """All commands; turns the end of each into an exit code and lines on stderr."""

    def invoke(self, ctx: Any) -> NoReturn:
        """Run the chosen command and exit with what it returns.

        An error that the user can fix is one line per mistake, without a traceback. Typer itself
        reports a wrong command line, with exit code 2.
        """
        try:
            with InOneLine(words=_safe):
                sys.exit(super().invoke(ctx))
        except KeyboardInterrupt:
            sys.exit(ExitCode.INTERRUPTED)


def _safe(lines: str) -> str:
    """Return an error without secrets and without what a terminal would obey."""
    return hide(in_lines(lines))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def main() -> None:
    """Run the command that the command line names, then exit."""
    app(prog_name="aso-se")


def _print_version(*, wanted: bool) -> None:
    if wanted:
        say(f"aso-se {metadata.version('aso-se')}")
        raise typer.Exit


@app.callback()
def about(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Search, grow, train and export an image classifier."""


@app.command()
def run(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="STAGE", help="Stages to bring up to date. Without any, all."),
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Run the stages even if nothing changed.")
    ] = False,
) -> int:
    """Run what changed. You can stop it at any time and run it again."""
    from pipeline.planning.announcing import announce  # noqa: PLC0415 - psutil comes with DVC
    from pipeline.running.front import run_safely  # noqa: PLC0415 - as above

    return run_safely(Path.cwd(), targets or [], force=force, announce=announce)


@app.command()
def status() -> int:
    """Show where each stage stands and what to type next."""
    from pipeline.running.status import report  # noqa: PLC0415 - a check needs none of this

    return report(Path.cwd())


@app.command()
def verify(
    *,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Restore what differs, from DVC's cache or Git. What was there, and what is whole"
            " nowhere, is moved to .aso-se/replaced; 'aso-se run' makes it again.",
        ),
    ] = False,
    remote: Annotated[
        bool,
        typer.Option(
            "--remote", help="Fetch what dvc.lock records from DVC's remote, and check that."
        ),
    ] = False,
) -> int:
    """Hash every artifact and compare it with dvc.lock. The exit code is 1 if any differs."""
    from pipeline.running.verifying import report  # noqa: PLC0415 - the cache is DVC's

    if repair and remote:
        raise typer.BadParameter("--repair and --remote exclude each other")
    return report(Path.cwd(), repair=repair, remote=remote)


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Params file to check.")
    ] = PARAMS_FILE,
) -> None:
    """Check a params file as a whole. Prints one line per mistake and runs nothing."""
    if path.parent.resolve() == PROFILES.resolve():
        complete(read_text(path), str(path))
    else:
        read_params(Params, path, whole=True)
    say(f"{path}: valid")


@app.command("profile")
def choose_profile(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="File in profiles/ without .yaml, such as cifar10."),
    ],
) -> None:
    """Make a profile the params.yaml. One that you edited by hand is kept beside it."""
    if kept := use_params(Path(), read_profile(Path(), name)):
        say(f"{kept}: copy of your own {PARAMS_FILE}")
    say(f"{PARAMS_FILE}: now {PROFILES / name}.yaml, complete; 'aso-se run' runs it")


def _possible(minutes: float) -> float:
    """Return the minutes; raise a usage error if no run can take as long."""
    if not 0 < minutes <= MOST_MINUTES:
        wanted = f"expected a number above 0 and at most {MOST_MINUTES:,}"
        raise typer.BadParameter(f"{wanted}, got {minutes:g}")
    return minutes


@app.command()
def plan(
    *,
    minutes: Annotated[
        float,
        typer.Option(
            metavar="N", help="Minutes that all epochs together may take.", callback=_possible
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and write nothing.")
    ] = False,
) -> int:
    """Set the epochs of all phases in params.yaml for a given time.

    It measures real steps on this machine, once, and scales the epochs of params.yaml by one
    factor. Nothing else in the file changes, and comments stay.
    """
    from pipeline.planning.command import plan as write_plan  # noqa: PLC0415 - torch takes seconds

    return write_plan(Path(), minutes, dry_run=dry_run)


@app.command()
def latency() -> int:
    """Measure how long parts of networks take on this machine.

    Writes latency.json, for target.milliseconds: milliseconds of an image in ONNX Runtime, on one
    thread, for every operation at every size that params.yaml allows. Another table is another
    result.
    """
    from pipeline.timing.command import write_latency  # noqa: PLC0415 - torch takes seconds

    return write_latency(Path())


@app.command()
def serve(
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="CRON", help="When to run `nightly`, such as '0 2 * * *'. Without it, never."
        ),
    ] = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Time zone of --cron, such as Europe/Berlin.")
    ] = "UTC",
) -> None:
    """Offer the flows to a Prefect server and run them. Runs until you stop it."""
    from pipeline.flows.serving import serve_flows  # noqa: PLC0415 - prefect takes seconds

    serve_flows(cron, timezone)


app.add_typer(models)
app.add_typer(experiments)


if __name__ == "__main__":
    main()
