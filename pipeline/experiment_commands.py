"""The commands of `aso-se` about experiments; each is a thin call."""

from pathlib import Path
from typing import Annotated

import typer

experiments = typer.Typer()


@experiments.command("try")
def try_out(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE", help="Params to change, such as search.arch_update_freq=3."
        ),
    ],
    *,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Name of the experiment. The same name and changes continue it."
        ),
    ],
) -> int:
    """Run with other params as an experiment; params.yaml stays."""
    from pipeline.planning.announcing import announce  # noqa: PLC0415 - psutil comes with DVC
    from pipeline.running.trying import try_out as run_beside  # noqa: PLC0415 - as above

    return run_beside(Path.cwd(), changes, name, announce=announce)


@experiments.command()
def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Experiments and references to show. Without any, all."
        ),
    ] = None,
) -> int:
    """Show this run, all experiments and the references in a table."""
    from pipeline.running.side_by_side import compare as show  # noqa: PLC0415 - a check needs none

    return show(Path.cwd(), names or [])


@experiments.command()
def apply(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of an experiment.")],
) -> int:
    """Make an experiment's params and results those of this tree."""
    from pipeline.running.applying import apply as take_over  # noqa: PLC0415 - a check needs none

    return take_over(Path.cwd(), name)


@experiments.command()
def sweep(
    space: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES",
            help="Values of a param, such as search.arch_update_freq=3,5,7; with --trials also a"
            " range, such as search.arch_reach=2.0..16.0 (2..16 tries whole numbers only).",
        ),
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the sweep. With --trials, the same name continues a study.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Number of trials of an Optuna study. Without it, a grid."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(metavar="STAGE.METRIC", help="Metric to rank by; docs/metrics.md lists them."),
    ] = "growth.validation_accuracy",
    minimize: Annotated[
        bool, typer.Option("--minimize", help="Rank the lowest value first.")
    ] = False,
    max_parallel: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Experiments at once. They share the cores, so their last digits can differ.",
        ),
    ] = 1,
    pool: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Prefect work pool whose workers run the experiments. Without it, they run here.",
        ),
    ] = None,
) -> None:
    """Run an experiment for each combination of values and rank them."""
    from pipeline.flows.command_line import sweep_from_words  # noqa: PLC0415 - prefect takes seconds

    sweep_from_words(
        space,
        name=name,
        trials=trials,
        objective=objective,
        direction="minimize" if minimize else "maximize",
        max_parallel=max_parallel,
        pool=pool,
    )
