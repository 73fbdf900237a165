"""Shared by all tests: small params, networks and images, and strategies that draw blueprints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.alternating.params import SearchParams
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.growing.params import GrowthParams
from pipeline.harness.section import Section
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, build
from pipeline.space.params import NetworkParams
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE
from pipeline.supernet.supernet import SupernetContext
from pipeline.training.params import TrainingParams
from pipeline.warming.params import WarmupParams
from tests.breaking import break_operations
from tests.toy import STAGES, Toy

torch.set_num_threads(1)  # on tensors this small more threads only wait for each other
settings.register_profile("small", max_examples=8, deadline=None, derandomize=True)
settings.load_profile("small")
costly = settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
"""Settings for laws about whole networks, where shrinking a counterexample would take minutes."""

S = TypeVar("S", bound=Section)
RATES = {
    "schedule": "cosine",
    "learning_rate": 0.05,
    "learning_rate_end": 0.01,
    "rising_epochs": 0.0,
}
TINY: dict[type[Section], dict[str, Any]] = {
    NetworkParams: {
        "space": "darts",
        "operations": ("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"),
        "cells": 3,
        "nodes": 2,
        "channels": 4,
        "stem_multiplier": 1,
        "max_skips": None,
        "edges_per_node": 2,
        "share_logits": True,
        "initial_none": -2.0,
        "initial_skip": 1.0,
        "initial_noise": 0.5,
    },
    TrainingParams: {
        "batch_size": 8,
        "evaluation_batch_size": 16,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "gradient_clip": 5.0,
        "max_recoveries": 2,
        "max_disabled": 2,
        "auxiliary_skip": 0.0,
        "sampled_paths": 1,
        "statistics_batches": 2,
    },
    AugmentationParams: {"crop_padding": 1, "flip": True, "cutout": 2},
    WarmupParams: {
        "epochs": 2,
        "skip_epochs": 1,
        "explore": 1.0,
        "ramp_epochs": 1,
        **RATES,
    },
    SearchParams: {
        "epochs": 2,
        "arch_update_freq": 3,
        "sampling": "hard",
        "arch_gradient": "gate",
        "arch_paths": 1,
        "arch_images": "validation",
        "beta_decay": 0.0,
        "stop_skips": None,
        "stop_operations": None,
        "explore": 0.0,
        **RATES,
        "arch_learning_rate": "auto",
        "arch_reach": 4.0,
        "temperature": 2.0,
        "temperature_end": 0.1,
        "temperature_floor": 0.0,
        "anneal_rate": "auto",
        "transition_noise": 0.05,
        "sharpen": 0.0,
    },
    GrowthParams: {
        "epochs": 6,
        "kinds": ("deepen", "widen"),
        "patience": 1,
        "min_improvement": 0.99,
        "settle": 1,
        "tolerance": 0.99,
        "widen_factor": 1.5,
        "max_cells": 4,
        "max_channels": 6,
        "explore": 0.0,
        "mutation_strength": 0.5,
        "max_nodes": 4,
        **RATES,
    },
    OptimizeParams: {
        "epochs": 2,
        **RATES,
        "weight_decay": 3e-4,
        "label_smoothing": 0.1,
        "balance": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "drop_path": 0.0,
        "auxiliary_weight": 0.0,
        "ema_decay": 0.0,
        "from_scratch": False,
        "teacher": None,
        "use_validation": False,
        "patience": 0,
    },
}


def of_space(name: str) -> dict[str, Any]:
    """Return changes that give tiny params a search space, with at most five candidates."""
    required = SPACES[name].required
    others = [one for one in SPACES[name].names if one not in required]
    return {"space": name, "operations": (*required, *others[:3]), **SPACES[name].fixed}


NASBENCH201 = of_space("nasbench201")


def tiny(section: type[S], **changes: object) -> S:
    """Return a section of params for training that takes a moment, with `changes`."""
    return section(**{**TINY[section], **changes})


def tiny_blueprint(**changes: object) -> Blueprint:
    return plan(tiny(NetworkParams, **changes), image_channels=3, classes=3, image_size=8)


def tiny_network(blueprint: Blueprint | None = None, seed: int = 0) -> Network:
    return build(blueprint or tiny_blueprint(), generator=generator(seed, "test"))


def random_images(count: int = 24, *, size: int = 8, classes: int = 3, seed: int = 0) -> Images:
    source = generator(seed, "images")
    pixels = torch.randint(256, (count, 3, size, size), generator=source, dtype=torch.uint8)
    return Images(
        pixels=pixels.contiguous(memory_format=torch.channels_last),
        labels=torch.randint(classes, (count,), generator=source),
        mean=torch.tensor([0.5, 0.4, 0.6]),
        std=torch.tensor([0.3, 0.2, 0.3]),
    )


def context(
    training: int = 24,
    validation: int = 16,
    *,
    seed: int = 0,
    augmentation: AugmentationParams | None = None,
    **changes: object,
) -> SupernetContext:
    """Return the context of a phase on images of noise; changes: changes to training params."""
    return SupernetContext(
        images=random_images(training),
        validation=random_images(validation, seed=1),
        classes=3,
        training=tiny(TrainingParams, **changes),
        augmentation=augmentation or tiny(AugmentationParams),
        seed=seed,
    )


def write_noise(
    folder: Path, *, training: int, validation: int, validation_seed: int = 1, test_seed: int = 9
) -> None:
    """Write a data set of random images, as prepare does."""

    def labelled(count: int, seed: int) -> Labelled:
        images = random_images(count, seed=seed)
        return Labelled(
            images=images.pixels.permute(0, 2, 3, 1).contiguous().numpy(),
            labels=images.labels.numpy(),
        )

    write_dataset(
        folder,
        name="noise",
        classes=("a", "b", "c"),
        splits=Splits(
            train=labelled(training, 0),
            validation=labelled(validation, validation_seed),
            test=labelled(8, test_seed),
        ),
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
    )


def measures(classes: Sequence[str]) -> dict[str, Any]:
    """Return metrics as derive writes them, without a calibration."""
    names = ("accuracy", "accuracy_low", "accuracy_high", "precision", "recall", "f1", "loss")
    return {
        **{f"test_{name}": 0.5 for name in names},
        "accuracy_by_class": dict.fromkeys(classes, 0.5),
        "measures_by_class": {
            name: {"precision": 0.5, "recall": 0.5, "f1": 0.5} for name in classes
        },
        "test_calibration_error": 0.1,
        "test_images": 8,
        "parameters": 1000,
        "mflops": 0.5,
    }


def random_logits(blueprint: Blueprint) -> Tensor:
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    return torch.randn(shape, generator=generator(0, "logits"))


def write_supernet(path: Path, network: Network | None = None, **facts: object) -> Path:
    """Write a supernet with random logits, as a phase leaves it to the next."""
    network = network or tiny_network()
    made = Checkpoint.of(
        network,
        logits=random_logits(network.blueprint),
        facts={"stage": "growth", "epoch": 5, "temperature": 0.5, **facts},
    )
    write_checkpoint(path, made)
    return path


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def identical(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether both have the same names and, bit for bit, the same values."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
def scramble(network: Network, seed: int = 0) -> Network:
    """Give a network the weights, gates and statistics of one that has trained for long."""
    source = generator(seed, "scramble")
    for parameter in network.parameters():
        if parameter.dim() < 2:
            parameter.copy_(torch.empty_like(parameter).uniform_(0.5, 1.5, generator=source))
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.bias.normal_(0, 0.2, generator=source)
            module.running_mean.normal_(0, 0.3, generator=source)
            module.running_var.uniform_(0.5, 2.0, generator=source)
    return network


@st.composite
def blueprints(
    draw: st.DrawFn,
    *,
    most_operations: int = 4,
    spaces: tuple[str, ...] = tuple(SPACES),
    most_cells: int = 5,
) -> Blueprint:
    """Blueprints of 3 or more cells of any search space, with candidates in any order."""
    space = SPACES[draw(st.sampled_from(spaces))]
    others = st.sampled_from([name for name in space.names if name not in space.required])
    required = len(space.required)
    extra = draw(
        st.lists(others, unique=True, min_size=2 - required, max_size=most_operations - required)
    )
    free: dict[str, object] = {
        "share_logits": draw(st.booleans()),
        "nodes": draw(st.integers(1, 3)),
        "stem_multiplier": draw(st.integers(1, 3)),
        "edges_per_node": draw(st.integers(1, 3)),
        "stem": draw(st.sampled_from((1, 1, 2, 4))),
    }
    fewest = -(-3 // space.cells_multiple_of)
    params = tiny(
        NetworkParams,
        space=space.name,
        operations=tuple(draw(st.permutations([*space.required, *extra]))),
        cells=space.cells_multiple_of
        * draw(st.integers(fewest, most_cells // space.cells_multiple_of)),
        channels=2 * draw(st.integers(2, 6)),
        **{**free, **space.fixed},
    )
    channels, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    return plan(params, image_channels=channels, classes=classes, image_size=8)


@st.composite
def genotypes(draw: st.DrawFn, blueprint: Blueprint) -> Genotype:
    """Genotypes that fit a blueprint."""
    space = blueprint.rules
    operations = st.sampled_from([name for name in blueprint.operations if name != NONE])
    architectures = []
    for architecture in range(blueprint.architectures):
        nodes = []
        for node in range(blueprint.nodes):
            sources = st.integers(0, node + len(space.inputs) - 1)
            fewest = 0 if space.cuts else 1
            kept = st.lists(sources, unique=True, min_size=fewest, max_size=space.edges_per_node)
            nodes.append(
                tuple(
                    Gene(source=source, operation=draw(operations)) for source in sorted(draw(kept))
                )
            )
        name = blueprint.architecture_name(architecture)
        architectures.append(Architecture(name=name, nodes=tuple(nodes)))
    return Genotype(space=space.name, architectures=tuple(architectures))


@st.composite
def blueprints_with_genotypes(
    draw: st.DrawFn, spaces: tuple[str, ...] = tuple(SPACES), *, whole: bool = False
) -> tuple[Blueprint, Genotype]:
    """Blueprints with genotypes that fit them; whole: with all candidates of their space."""
    blueprint = draw(blueprints(spaces=spaces))
    if whole:
        blueprint = replace(blueprint, operations=blueprint.rules.names)
    return blueprint, draw(genotypes(blueprint))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a tiny supernet, as a phase leaves it to the next."""
    return write_supernet(tmp_path_factory.mktemp("supernet") / "checkpoint.safetensors")


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function after which operations fail in every network that is built."""
    return partial(break_operations, monkeypatch)


@pytest.fixture(scope="session")
def reproduced_toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A toy project whose stages have all run, committed; copy it before you change it."""
    made = Toy.make(tmp_path_factory.mktemp("toy") / "project")
    made.dvc("repro", "--quiet")
    made.commit("reproduced")
    assert made.ran() == STAGES
    return made


@pytest.fixture
def toy(reproduced_toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of the reproduced toy project, which is also the current directory."""
    return entered(reproduced_toy, tmp_path / "project", monkeypatch)


def entered(project: Toy, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Copy a project and make the copy the current directory, with its environment."""
    copied = project.copy(folder)
    monkeypatch.chdir(copied.folder)
    for name, value in copied.environment().items():
        monkeypatch.setenv(name, value)
    return copied
