"""Curves over the epochs of all phases, on one axis."""

from collections.abc import Sequence
from itertools import pairwise
from math import log

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from matplotlib.transforms import blended_transform_factory

from pipeline.events.event import Event
from pipeline.reporting.findings import PHASES, SEARCHING_PHASES, SUPERNET_PHASES, Findings
from pipeline.reporting.histories import SHARE
from pipeline.reporting.hovering import hover_epochs, tell_shares, tell_values
from pipeline.reporting.style import BLUE, GREEN, INK, MUTED, ORANGE, PHASE_COLORS, PURPLE, RED

# In inches. matplotlib's own layouts are not used, because their last bits differ between runs.
WIDTH, LEFT, RIGHT, TOP, GAP, BOTTOM = 10.0, 0.65, 0.2, 0.6, 0.42, 0.5
NAMES = 22
"""Distance in points from the top of an axis to the names of the phases, above its title."""


def draw_curves(findings: Findings) -> Figure:
    """Draw accuracy, loss, temperature and entropy over all epochs."""
    figure, panels = _stack(2.7, 1.6, 0.95, 0.95)
    accuracy, loss, temperature, entropy = panels
    _title(accuracy, "Accuracy")
    _line(accuracy, findings, "train_accuracy", MUTED, "training", width=1.2)
    _line(accuracy, findings, "genotype_accuracy", ORANGE, "validation, most likely genotype")
    _line(accuracy, findings, "validation_accuracy", BLUE, "validation")
    last = findings.histories["optimize"][-1]["epoch"]
    tested = findings.metrics["test_accuracy"]
    accuracy.plot(
        [last], [tested], "*", color=RED, markersize=11, clip_on=False, zorder=5,
        label=f"test, once: {tested:.1%}",
    )  # fmt: skip
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    accuracy.legend(loc="lower right", fontsize=8.5)
    _title(loss, "Loss (nats)")
    _line(loss, findings, "train_loss", MUTED, "training", width=1.2)
    _line(loss, findings, "validation_loss", BLUE, "validation")
    loss.legend(loc="upper right", fontsize=8.5)
    _title(temperature, "Temperature")
    _line(temperature, findings, "temperature", PURPLE, phases=SEARCHING_PHASES)
    _title(entropy, "Entropy of the architecture (nats per edge)")
    _line(entropy, findings, "entropy", GREEN, phases=SUPERNET_PHASES)
    uniform = log(len(findings.blueprint.operations))
    entropy.axhline(uniform, color=MUTED, linewidth=1, linestyle=":")
    entropy.text(
        0.995, uniform, f"all {len(findings.blueprint.operations)} operations alike",
        transform=entropy.get_yaxis_transform(), color=MUTED, size=8, ha="right", va="bottom",
    )  # fmt: skip
    for axes in (loss, temperature, entropy):
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
    for axes in panels:
        mark_phases(axes, findings, PHASES, named=axes is accuracy)
        mark_growths(axes, findings.growths, named=axes is accuracy)
    label_epochs(entropy)
    hover_epochs(figure, findings, PHASES, tell_values)
    return figure


def draw_operations(findings: Findings) -> Figure:
    """Draw the weight of each operation over the epochs, as a mean over all edges."""
    figure, [axes] = _stack(3.2, right=1.95)
    operations, space = findings.blueprint.operations, findings.blueprint.rules
    weights = [findings.column(SHARE + name, SUPERNET_PHASES)[1] for name in operations]
    epochs, _ = findings.column("entropy", SUPERNET_PHASES)
    drawn = axes.stackplot(
        epochs,
        weights,
        colors=[space.operation(name).color for name in operations],
        labels=[f"{name}  {own[-1]:.0%}" for name, own in zip(operations, weights, strict=True)],
        alpha=0.85,
        linewidth=0,
    )
    _title(axes, "Mean weight over all edges")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(
        drawn[::-1],
        [str(area.get_label()) for area in drawn[::-1]],
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        title="at the end of growth",
        title_fontsize=8.5,
        fontsize=8.5,
    )
    mark_phases(axes, findings, SUPERNET_PHASES, named=True, shaded=False)
    mark_growths(axes, findings.growths, named=False)
    axes.set_xlim(epochs[0], max(epochs[-1], epochs[0] + 1))
    label_epochs(axes)
    hover_epochs(figure, findings, SUPERNET_PHASES, tell_shares)
    return figure


def draw_growth(findings: Findings) -> Figure:
    """Draw the size of the network and its accuracy through search and growth."""
    figure, panels = _stack(1.7, 0.85, 0.75, 0.75)
    columns = ("validation_accuracy", "parameters", "channels", "cells")
    titles = (
        "Validation accuracy",
        "Parameters of the supernet",
        "Channels of a node in the first cell",
        "Cells",
    )
    colors = (BLUE, PURPLE, ORANGE, GREEN)
    for axes, column, title, color in zip(panels, columns, titles, colors, strict=True):
        epochs, values = findings.column(column, SEARCHING_PHASES)
        _title(axes, title)
        if column == "validation_accuracy":
            axes.plot(epochs, values, color=color, marker="o", markersize=3)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            axes.step(epochs, values, where="mid", color=color)
            axes.fill_between(epochs, values, step="mid", color=color, alpha=0.12, linewidth=0)
            axes.set_ylim(0, 1.25 * max(values))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        mark_phases(axes, findings, SEARCHING_PHASES, named=axes is panels[0])
        mark_growths(axes, findings.growths, named=axes is panels[0])
    label_epochs(panels[-1])
    hover_epochs(figure, findings, SEARCHING_PHASES, tell_values)
    return figure


def short(value: float) -> str:
    """Return a number as an axis shows it: 261k, 3.4M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def _stack(*heights: float, right: float = RIGHT) -> tuple[Figure, list[Axes]]:
    """Return axes of these heights, one below the other; right: free space there, in inches."""
    height = TOP + sum(heights) + GAP * (len(heights) - 1) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    panels: list[Axes] = []
    top = height - TOP
    for own in heights:
        place = (LEFT / WIDTH, (top - own) / height, 1 - (LEFT + right) / WIDTH, own / height)
        panels.append(figure.add_axes(place, sharex=panels[0] if panels else None))
        top -= own + GAP
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    return figure, panels


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, size=9.5, color=INK)


def _line(
    axes: Axes,
    findings: Findings,
    column: str,
    color: str,
    name: str = "",
    *,
    phases: Sequence[str] = PHASES,
    width: float = 1.8,
) -> None:
    epochs, values = findings.column(column, phases)
    mark = "o" if len(epochs) < 3 else ""  # a line of one point shows nothing
    axes.plot(epochs, values, color=color, linewidth=width, label=name, marker=mark, markersize=4)


def mark_phases(
    axes: Axes,
    findings: Findings,
    phases: Sequence[str],
    *,
    named: bool,
    shaded: bool = True,
) -> None:
    """Shade each phase, from half an epoch before its first epoch to half after its last."""
    place = blended_transform_factory(axes.transData, axes.transAxes)
    bounds = [_bounds(findings, phase) for phase in phases]
    for phase, (begin, end) in zip(phases, bounds, strict=True):
        color = PHASE_COLORS[phase]
        if shaded:
            axes.axvspan(begin, end, color=color, alpha=0.09, linewidth=0, zorder=0)
        if named:
            axes.annotate(
                phase, ((begin + end) / 2, 1), (0, NAMES), xycoords=place,
                textcoords="offset points",
                color=color, size=9.5, weight="bold", ha="center", va="bottom",
            )  # fmt: skip
    for (_, end), _ in pairwise(bounds):
        axes.axvline(end, color=MUTED, linewidth=0.7, alpha=0.6, zorder=1)
    axes.set_xlim(bounds[0][0], bounds[-1][1])


def _bounds(findings: Findings, phase: str) -> tuple[float, float]:
    rows = findings.histories[phase]
    return float(rows[0]["epoch"]) - 0.5, float(rows[-1]["epoch"]) + 0.5


def mark_growths(axes: Axes, growths: Sequence[Event], *, named: bool) -> None:
    """Mark each growth between its epoch and the next."""
    place = blended_transform_factory(axes.transData, axes.transAxes)
    for growth in growths:
        color = INK if growth.verdict == "accepted" else RED
        axes.axvline(growth.epoch + 0.5, color=color, linewidth=1.3, linestyle=(0, (4, 2)))
        if named:
            text = growth.what + ("" if growth.verdict == "accepted" else f", {growth.verdict}")
            axes.annotate(
                text, (growth.epoch + 0.5, 0.04), (3, 0), xycoords=place,
                textcoords="offset points", color=color, size=8.5, rotation=90, va="bottom",
            )  # fmt: skip


def label_epochs(axes: Axes) -> None:
    """Label the axis of epochs, with whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=14))
