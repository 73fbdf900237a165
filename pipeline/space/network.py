"""Network: a stem, cells and a linear head, built from a blueprint.

One class is both the supernet (all candidates on every edge) and the discrete network (only those
of a genotype). It does not know the phase of the method: the edge weights passed in decide what
runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from pipeline.space.batch_norm import BatchNorm
from pipeline.space.blueprint import Blueprint
from pipeline.space.cell import Cell
from pipeline.space.genotype import Genotype, check_fit
from pipeline.space.operations import stem_layers
from pipeline.space.ordering import mean_of_pixels
from pipeline.space.relaxation import EdgeWeights


class Network(nn.Module):
    """(N, C, H, W) float32 normalised images -> (N, classes) logits."""

    def __init__(self, blueprint: Blueprint, genotype: Genotype | None = None) -> None:
        """Create the modules; `build` also gives them their initial weights."""
        super().__init__()
        self.blueprint = blueprint
        self.genotype = genotype
        stem = blueprint.stem_channels
        widths = (*blueprint.stem_widths, stem)
        layers = stem_layers(blueprint.image_channels, widths, blueprint.stem_stride)
        self.stem = nn.Sequential(*layers)
        self.cells = nn.ModuleList()
        inputs, halve_first = (stem, stem), False
        for plan in blueprint.cells:
            architecture = None if genotype is None else genotype.architectures[plan.architecture]
            self.cells.append(
                Cell(
                    plan,
                    blueprint.rules,
                    nodes=blueprint.nodes,
                    operations=blueprint.operations,
                    inputs=inputs,
                    halve_first=halve_first,
                    architecture=architecture,
                )
            )
            if not plan.grown:
                inputs, halve_first = (
                    (inputs[1], blueprint.output_nodes * plan.channels),
                    plan.kind == "reduction",
                )
        self.norm = BatchNorm(inputs[1]) if blueprint.rules.normalises else None
        self.head = nn.Linear(inputs[1], blueprint.classes)

    @property
    def paths(self) -> int:
        """Number of paths that drop path may drop: the edges of all cells."""
        return len(self.cells) * len(self.blueprint.edges)

    def trunk(
        self,
        images: Tensor,
        edge_weights: EdgeWeights | None = None,
        kept_paths: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the output of each cell in turn.

        kept_paths: see `forward`.

        Raises:
            ValueError: the network is a supernet, and there are no edge weights.
        """
        if edge_weights is None and self.genotype is None:
            raise ValueError("a supernet needs edge weights")
        output = self.stem(images)
        if kept_paths is not None:
            kept_paths = kept_paths.to(output.dtype).view(len(self.cells), -1, len(images), 1, 1, 1)
        s0 = None
        for number, (plan, cell) in enumerate(zip(self.blueprint.cells, self.cells, strict=True)):
            kept = None if kept_paths is None else kept_paths[number]
            activity, gates, auxiliary = None, None, 0.0
            if edge_weights is not None:
                activity = edge_weights.active[plan.architecture]
                gates = (
                    None if edge_weights.gates is None else edge_weights.gates[plan.architecture]
                )
                auxiliary = edge_weights.auxiliary
            s1 = F.relu(output) if self.blueprint.rules.rectifies else output
            s0 = s1 if s0 is None else s0
            computed = cell(s0, s1, activity, gates, kept, auxiliary=auxiliary)
            # A grown cell refines its input in place: the next cell reads the same s0.
            if cell.gate is not None:
                output = output + cell.gate * computed
            else:
                output, s0 = computed, s1
            yield output

    def classify(self, features: Tensor) -> Tensor:
        """(N, C, H, W) output of the last cell -> (N, classes) logits."""
        if self.norm is not None:
            features = self.norm(features).relu()
        logits: Tensor = self.head(mean_of_pixels(features))
        return logits

    def forward(
        self,
        images: Tensor,
        edge_weights: EdgeWeights | None = None,
        kept_paths: Tensor | None = None,
    ) -> Tensor:
        """Return logits.

        edge_weights: what a supernet runs; None for a discrete network. kept_paths: (P, N, 1, 1, 1)
        factors of drop path for its P paths, or None.
        """
        for output in self.trunk(images, edge_weights, kept_paths):
            features = output
        return self.classify(features)


def build(
    blueprint: Blueprint,
    genotype: Genotype | None = None,
    *,
    generator: Generator,
    device: torch.device | str = "cpu",
) -> Network:
    """Return a network with fresh weights, channels last.

    Args:
        blueprint: what to build.
        genotype: build only its operations; None builds all candidates.
        generator: source of the weights, on the CPU, so that all devices start with the same ones.
        device: device of the network.

    Raises:
        GenotypeError: the genotype does not fit the blueprint.
    """
    if genotype is not None:
        check_fit(genotype, blueprint)
    with torch.device("meta"):
        network = Network(blueprint, genotype)
    # `to_empty` imports sympy, half a second in every stage.
    empty = {
        name: torch.empty(one.shape, dtype=one.dtype, device="cpu")
        for name, one in network.state_dict().items()
    }
    network.load_state_dict(empty, assign=True)
    initialize(network, generator)
    return network.to(memory_format=torch.channels_last).to(device)


def rebuild(
    blueprint: Blueprint, genotype: Genotype | None, weights: Mapping[str, Tensor]
) -> Network:
    """Return a network with these weights, channels last.

    It takes no more memory than they do, even if a foreign file's blueprint describes more.

    Raises:
        GenotypeError: the genotype does not fit the blueprint.
        KeyError, ValueError, RuntimeError: the weights do not fit the blueprint.
    """
    if genotype is not None:
        check_fit(genotype, blueprint)
    with torch.device("meta"):
        network = Network(blueprint, genotype)
    for name, expected in network.state_dict().items():
        found = weights[name]
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"{name}: {found.dtype} {tuple(found.shape)} does not fit")
    copies = {name: weight.clone() for name, weight in weights.items()}
    network.load_state_dict(copies, assign=True)
    return network.to(memory_format=torch.channels_last)


def initialize(network: nn.Module, generator: Generator) -> None:
    """Give every layer fresh weights: Kaiming normal (He et al. 2015); gates start at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            module.running_mean.zero_()
            module.running_var.fill_(1)
        elif isinstance(module, Cell) and module.gate is not None:
            nn.init.zeros_(module.gate)


@contextmanager
def constant(weights: Sequence[Tensor]) -> Iterator[None]:
    """Treat weights as constants, for a step that differentiates something else."""
    learning = [weight for weight in weights if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)  # noqa: FBT003 - it has no name in a Tensor
    try:
        yield
    finally:
        for weight in learning:
            weight.requires_grad_()


def discretize(network: Network, genotype: Genotype) -> Network:
    """Return the discrete network of a genotype, with copies of the supernet's weights.

    Raises:
        GenotypeError: the genotype does not fit the blueprint.
    """
    device = network.head.weight.device
    discrete = build(network.blueprint, genotype, generator=Generator(), device=device)
    weights = network.state_dict()
    discrete.load_state_dict({name: weights[name] for name in discrete.state_dict()})
    return discrete
