"""One network with every operation and a grown cell, exported once: an export takes seconds."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.batches.batches import normalise
from pipeline.batches.randomness import generator
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.space.blueprint import Blueprint, CellPlan
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.network import Network, build
from pipeline.space.registry import SPACES
from tests.conftest import scramble, tiny_blueprint

NAMES = tuple(name for name in SPACES["darts"].names if name != "none")
MEAN, STD = (0.5, 0.4, 0.6), (0.3, 0.2, 0.3)


@pytest.fixture(scope="session")
def network() -> Network:
    blueprint = _blueprint()
    untrained = build(blueprint, _genotype(blueprint), generator=generator(0, "network"))
    trained = scramble(untrained).eval()
    torch.nn.init.normal_(trained.head.weight, std=0.3, generator=generator(0, "head"))
    return trained


@pytest.fixture(scope="session")
def facts(network: Network) -> ModelFacts:
    assert network.genotype is not None
    return ModelFacts(
        classes=("ape", "bee", "cat", "dog", "a|b"),
        height=9,
        width=9,
        channels=3,
        mean=MEAN,
        std=STD,
        genotype=network.genotype.to_dict(),
        digests={"model.safetensors": "0123456789abcdef" * 4},
    )


@pytest.fixture(scope="session")
def exported(network: Network, facts: ModelFacts) -> bytes:
    return export_onnx(network, facts)


@pytest.fixture(scope="session")
def calibrated_facts(facts: ModelFacts) -> ModelFacts:
    return replace(facts, temperature=1.7321, unsure_below=0.4321)


@pytest.fixture(scope="session")
def calibrated(network: Network, calibrated_facts: ModelFacts) -> bytes:
    """The same network, in a file whose probabilities are calibrated."""
    return export_onnx(network, calibrated_facts)


@pytest.fixture(scope="session")
def any_size_facts(facts: ModelFacts) -> ModelFacts:
    return replace(facts, any_size=True)


@pytest.fixture(scope="session")
def any_size(network: Network, any_size_facts: ModelFacts) -> bytes:
    """The same network, in a file that takes images of every size."""
    return export_onnx(network, any_size_facts)


@pytest.fixture(scope="session")
@torch.no_grad()
def pixels(network: Network) -> Tensor:
    """Return (N, 9, 9, 3) uint8 images of whose classes the network is sure."""
    source = generator(0, "images")
    colours = torch.randint(40, 216, (400, 1, 1, 3), generator=source)
    noise = torch.randint(-40, 40, (400, 9, 9, 3), generator=source)
    images = (colours + noise).to(torch.uint8)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    best = network(normalise(images.permute(0, 3, 1, 2), mean, std)).topk(2).values
    sure = images[best[:, 0] - best[:, 1] > 0.1 * best.std()]
    assert len(sure) > 300
    return sure


def _blueprint() -> Blueprint:
    searched = tiny_blueprint(operations=("none", *NAMES), nodes=3)
    last = searched.cells[-1].channels
    grown = CellPlan(kind="normal", architecture=0, channels=last, grown=True)
    return replace(searched, classes=5, cells=(*searched.cells, grown))


def _genotype(blueprint: Blueprint) -> Genotype:
    """Every operation once; the twelfth gene skips."""
    names = iter([*NAMES, "skip_connect"])
    return Genotype(
        architectures=tuple(
            Architecture(
                name=blueprint.architecture_name(architecture),
                nodes=tuple(
                    tuple(Gene(source=node + i, operation=next(names)) for i in range(2))
                    for node in range(blueprint.nodes)
                ),
            )
            for architecture in range(blueprint.architectures)
        )
    )
