"""Records of the training of a supernet: a row for each epoch, and the files of the phase."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Generator

from pipeline.batches.randomness import generator
from pipeline.deciding.decision import concentration, decide
from pipeline.harness.records import Row, kept, write_history, write_json
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.relaxation import EdgeWeights
from pipeline.supernet.evaluation import evaluate_genotype, evaluate_paths
from pipeline.supernet.supernet import ACCURACY, Supernet, SupernetContext
from pipeline.training.steps import Tally


def describe(
    context: SupernetContext,
    supernet: Supernet,
    draw: Callable[[Generator], EdgeWeights],
    tally: Tally,
) -> Row:
    """Evaluate the supernet at the end of an epoch, and return the epoch's row.

    The paths are drawn from the same random numbers in every epoch of every phase, so that
    accuracies differ by what was learnt, hardly by what was drawn. The genotype is decided by the
    rules of the search space alone.

    draw: function from a random source to edge weights, as this epoch's training drew them.
    tally: sums of the epoch's weight steps.

    Raises:
        TrainingFailedError: a loss or a gradient is not finite.
    """
    trained = tally.row()
    network, blueprint = supernet.network, supernet.network.blueprint

    def path(number: int) -> EdgeWeights:
        return draw(generator(context.seed, "evaluation", "path", number))

    loss, accuracy = evaluate_paths(network, context.validation, path, context.training)
    _, genotype_accuracy = evaluate_genotype(
        network,
        decide(supernet.logits, blueprint),
        context.images,
        context.validation,
        context.training,
    )
    return {
        "epoch": supernet.epoch,
        **trained,
        "validation_loss": loss,
        ACCURACY: accuracy,
        "genotype_accuracy": genotype_accuracy,
        "temperature": supernet.temperature,
        **concentration(supernet.logits, blueprint.operations),
        "cells": len(blueprint.cells),
        "channels": blueprint.cells[0].channels,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "micro_batch": supernet.micro_batch,
    }


def write_supernet(
    out: Path,
    stage: str,
    supernet: Supernet,
    history: Sequence[Row],
    *,
    facts: dict[str, Any],
    metrics: Mapping[str, object],
) -> None:
    """Write the files of a phase that trains a supernet: checkpoint, history, metrics.

    facts: what the next stage needs besides the epoch. metrics: those besides the last epoch's.
    """
    checkpoint = Checkpoint.of(
        supernet.network,
        logits=supernet.logits,
        facts={"stage": stage, "epoch": supernet.epoch, **facts},
    )
    write_checkpoint(out / "checkpoint.safetensors", checkpoint)
    write_history(out / "history.tsv", history)
    write_json(out / "metrics.json", {**kept(history[-1]), **metrics})
