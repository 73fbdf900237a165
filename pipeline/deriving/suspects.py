"""Images that are most likely mislabelled: those that least look like their label.

An image that was trained on is judged by its mean margin over the training, because in the end the
network may have learnt its label by heart; a held-out image by the margin of the finished network.
The two are not comparable, so images are listed by their place within their own split.

N images, K classes.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from pipeline.answering.measure import BATCH_SIZE, Answers, predict
from pipeline.batches.images import read_images
from pipeline.harness.files import write_atomically
from pipeline.harness.showing import cell
from pipeline.margins.margins import margins, read_margins
from pipeline.prepared.facts import SPLITS, Split, read_facts
from pipeline.prepared.names import read_names
from pipeline.space.checkpoint import Checkpoint
from pipeline.space.network import Network

LISTED = 0.1
"""Part of the images of each split that is listed."""
COLUMNS = ("split", "index", "name", "label", "looks_like", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An image that may be mislabelled.

    name: of its file, relative to `data.path`; empty if the data set has no files. label,
    looks_like: its class and the likeliest other one, as indices. score: its margin in logits,
    below 0 where the other class is likelier. place: its place within its split, 0 to 1.
    """

    split: Split
    index: int
    name: str
    label: int
    looks_like: int
    score: float
    place: float


def find_suspects(
    trained: Checkpoint, prepare: Path, margins_file: Path, held_out: Mapping[Split, Answers]
) -> list[Suspect]:
    """Return the worst tenth of the images of all splits, the worst first.

    trained: checkpoint of optimize; its network is in evaluation mode. margins_file: mean margins
    of the images that it was trained on. held_out: the finished network's answers for all others.

    Raises:
        CheckpointError: the file is missing, damaged, or of other images.
    """
    facts = read_facts(prepare)
    sizes = {split: facts.images(split) for split in trained.fact("trained_on")}
    learnt = read_margins(margins_file, sizes)
    found = []
    for split in SPLITS:
        if split in held_out:
            logits, labels = held_out[split]
            scores, _ = margins(logits, labels)
            worst = _worst(scores)
            answers = logits[worst], labels[worst]
        else:
            scores = learnt[split]
            worst = _worst(scores)
            answers = _predict_some(trained.network, prepare, split, worst)
        found += _suspects(split, read_names(prepare, split), scores, worst, answers)
    return sorted(found, key=lambda one: one.place)


def write_suspects(path: Path, suspects: Sequence[Suspect], classes: Sequence[str]) -> None:
    """Write a line for each image, in the order given. classes: names, by label."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in suspects:
        words = map(cell, (one.name, classes[one.label], classes[one.looks_like]))
        table.writerow((one.split, one.index, *words, f"{one.score:.6g}"))
    write_atomically(path, text.getvalue().encode())


def _worst(scores: Tensor) -> Tensor:
    """Return the indices of the lowest tenth of (N,) scores, the lowest first."""
    return scores.argsort(stable=True)[: ceil(LISTED * len(scores))]


def _suspects(
    split: Split,
    names: tuple[str, ...] | None,
    scores: Tensor,
    worst: Tensor,
    answers: Answers,
) -> list[Suspect]:
    """Describe the worst images of a split. scores: (N,) of all. answers: of the worst."""
    labels = answers[1]
    _, others = margins(*answers)
    return [
        Suspect(
            split=split,
            index=index,
            name=names[index] if names else "",
            label=int(labels[place]),
            looks_like=int(others[place]),
            score=float(scores[index]),
            place=place / len(scores),
        )
        for place, index in enumerate(worst.tolist())
    ]


def _predict_some(network: Network, prepare: Path, split: Split, indices: Tensor) -> Answers:
    """Return the finished network's answers for some images of a split.

    A batch of them is in memory at a time.
    """
    images = read_images(prepare, split, network.head.weight.device)
    logits = [
        predict(
            network,
            replace(
                images,
                pixels=images.pixels[some.to(images.pixels.device)],
                labels=images.labels[some.to(images.device)],
            ),
        )
        for some in torch.split(indices, BATCH_SIZE)
    ]
    return torch.cat(logits), images.labels.cpu()[indices]
