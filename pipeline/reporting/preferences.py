"""What each edge preferred after every epoch of search and growth, as these stages wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isclose, log
from pathlib import Path

from pipeline.harness.errors import ReportError, reason
from pipeline.harness.records import Row
from pipeline.reporting.files import AGAIN, read_table
from pipeline.space.blueprint import Blueprint

ROUNDED = 1e-4
"""Largest error of sums over an edge's weights, which are rounded to 6 digits."""

Edge = tuple[int, int, int]
"""Index of the architecture, source, node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What an edge preferred after an epoch. weights: of all operations; they sum to 1."""

    epoch: int
    edge: Edge
    weights: tuple[float, ...]


def read_preferences(path: Path, blueprint: Blueprint, history: Sequence[Row]) -> list[Preference]:
    """Return the rows of `edges.tsv`.

    blueprint: of the network that was found. history: rows of the epochs that the file tells of.

    Raises:
        ReportError: the file is missing, damaged, or of other operations, edges or epochs.
    """
    try:
        rows = [_preference(line, blueprint.operations) for line in read_table(path)]
        epochs = [_epoch(list(found), blueprint) for _, found in groupby(rows, _number)]
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{path}: not a history of edges: {reason(error)}; {AGAIN}") from None
    if epochs != [row["epoch"] for row in history]:
        raise ReportError(f"{path}: its epochs are not those of history.tsv; {AGAIN}")
    return rows


def _preference(line: Mapping[str, str], operations: Sequence[str]) -> Preference:
    if None in (*line, *line.values()):  # so csv fills a row that is too long or too short
        raise ValueError("a row has other columns than the header")
    weights = tuple(float(line[f"weight_{name}"]) for name in operations)
    if not all(0 <= weight <= 1 for weight in weights) or abs(sum(weights) - 1) > ROUNDED:
        raise ValueError(f"weights {weights}")
    entropy = -sum(weight * log(weight) for weight in weights if weight)
    if not isclose(float(line["entropy"]), entropy, abs_tol=ROUNDED):
        raise ValueError(f"entropy is {line['entropy']!r}")
    epoch, architecture, source, node = (
        int(line[name]) for name in ("epoch", "architecture", "source", "node")
    )
    return Preference(epoch=epoch, edge=(architecture, source, node), weights=weights)


def _number(row: Preference) -> int:
    return row.epoch


def _epoch(rows: Sequence[Preference], blueprint: Blueprint) -> int:
    """Return the epoch of its rows; raise ValueError unless they are the edges of a network."""
    architectures = len({row.edge[0] for row in rows})
    edges = blueprint.possible_edges[: len(rows) // architectures]
    if [row.edge for row in rows] != [
        (one, *edge) for one in range(architectures) for edge in edges
    ]:
        raise ValueError(f"epoch {rows[0].epoch} has not the edges of a network")
    return rows[0].epoch
