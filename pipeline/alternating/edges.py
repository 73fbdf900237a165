"""What each edge prefers after every epoch, and how varied the paths of an epoch were.

A architectures, E edges of a cell, O candidate operations. Weights are (A, E, O); growth adds
architectures and edges at the end, and a rollback removes them again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import log

import torch
from torch import Tensor

from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint

Active = tuple[tuple[tuple[int, ...], ...], ...]
"""(A, E) tuples with the indices of the operations that ran."""


def weights(logits: Tensor) -> Tensor:
    """(A, E, O) logits -> weights of the operations in double precision; rows sum to 1."""
    return logits.detach().double().softmax(-1)


def changes(before: Tensor, after: Tensor) -> int:
    """Return on how many edges the most likely operation differs; only common edges count."""
    architectures, edges = map(min, before.shape[:2], after.shape[:2])
    likely, earlier = (one[:architectures, :edges].argmax(-1) for one in (after, before))
    return int((likely != earlier).sum())


def diversity(paths: Sequence[Active], operations: int) -> float:
    """Return how varied paths are, from 0 (all alike) to 1 (all operations ran equally often).

    It is the entropy of the operations that ran on an edge as a fraction of ln O, a mean over
    edges. operations: their number O.
    """
    edges = zip(*(chain.from_iterable(path) for path in paths), strict=True)
    found = [_entropy(Counter(chain.from_iterable(edge)).values()) for edge in edges]
    return sum(found) / len(found) / log(operations)


def rows(seen: Sequence[Tensor], blueprint: Blueprint, *, last: int) -> Iterator[Row]:
    """Yield a row for each epoch and edge: its entropy in nats, and the weight of each operation.

    seen: (A, E, O) weights after each epoch. last: number of the newest epoch.
    """
    edges = blueprint.possible_edges
    for epoch, found in enumerate(seen, last - len(seen) + 1):
        entropies = torch.special.entr(found).sum(-1).tolist()
        for architecture, of_edges in enumerate(found.tolist()):
            for edge, values in enumerate(of_edges):
                source, node = edges[edge]
                named = zip(blueprint.operations, values, strict=True)
                yield {
                    "epoch": epoch,
                    "architecture": architecture,
                    "source": source,
                    "node": node,
                    "entropy": entropies[architecture][edge],
                    **{f"weight_{name}": value for name, value in named},
                }


def _entropy(counts: Iterable[int]) -> float:
    """Return the entropy of a distribution in nats; 0 if there is none."""
    total = sum(counts)
    return sum(count / total * log(total / count) for count in counts)
