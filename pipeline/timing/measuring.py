"""Milliseconds of parts of networks in ONNX Runtime, one image at a time on one thread."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.utils import Extractor
from torch import Generator, Tensor, nn

from pipeline.costing.parts import ADAPT, GATE, HALVE, HEAD, NORM, REDUCTION, STEM, Part
from pipeline.exporting.exporter import OPSET, export
from pipeline.exporting.onnx_file import IR_VERSION
from pipeline.exporting.speed import milliseconds
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.network import initialize
from pipeline.space.operations import (
    FactorizedReduce,
    ResidualReduction,
    build_operation,
    conv_norm,
    stem_layers,
)
from pipeline.space.registry import SPACES


class _Sum(nn.Module):
    """An operation on an edge, whose output is added to the node."""

    def __init__(self, operation: nn.Module, *, adds: bool) -> None:
        super().__init__()
        self.operation, self.adds = operation, adds

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.operation(x)
        return found + x if self.adds else found


class _Gated(nn.Module):
    """The sum of an output and a gated one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * x


class _Classify(nn.Module):
    """The mean over pixels and the linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x.mean((2, 3)))
        return found


def module_of(part: Part, space: str) -> nn.Module:
    """Return the module of a part, as it stands in a network of the space."""
    inputs, outputs = part.inputs, part.outputs
    fixed: dict[str, Callable[[], nn.Module]] = {
        STEM: lambda: nn.Sequential(*stem_layers(inputs, [outputs], part.stride)),
        ADAPT: lambda: nn.Sequential(nn.ReLU(), conv_norm(inputs, outputs)),
        HALVE: lambda: nn.Sequential(nn.ReLU(), FactorizedReduce(inputs, outputs)),
        REDUCTION: lambda: ResidualReduction(inputs, outputs),
        NORM: lambda: nn.Sequential(BatchNorm(outputs), nn.ReLU()),
        GATE: _Gated,
        HEAD: lambda: _Classify(inputs, outputs),
    }
    if part.name in fixed:
        return fixed[part.name]()
    layers = SPACES[space].operation(part.name).layers
    assert layers is not None
    return _Sum(build_operation(layers, inputs, part.stride), adds=part.stride == 1)


class _All(nn.Module):
    """Modules that have nothing to do with each other, each with an input and an output."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(one(x) for one, x in zip(self.parts, inputs, strict=True))


def measure(parts: Sequence[Part], space: str, *, tell: Callable[[int], None]) -> dict[Part, float]:
    """Return the milliseconds of each part, three digits of them.

    tell: is called after each part with the number of parts that are done.
    """
    modules = [module_of(part, space) for part in parts]
    for module in modules:
        initialize(module, Generator().manual_seed(0))
    # One model of all, because torch's exporter takes a second for each model.
    model = Extractor(
        export(
            _All(modules),
            [torch.zeros(1, part.inputs, part.height, part.width) for part in parts],
            inputs=[f"in{number}" for number in range(len(parts))],
            outputs=[f"out{number}" for number in range(len(parts))],
        )
    )
    found = {}
    for number, part in enumerate(parts):
        images = np.zeros((1, part.inputs, part.height, part.width), np.float32)
        alone = model.extract_model([f"in{number}"], [f"out{number}"])
        whole, nothing = (
            milliseconds(one.SerializeToString(), images) for one in (alone, _nothing(images))
        )
        found[part] = float(f"{max(whole - nothing, 0.0):.3g}")
        tell(number + 1)
    return found


def _nothing(images: NDArray[np.float32]) -> onnx.ModelProto:
    """Return a model that does as good as nothing, to see what a call costs."""
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Flatten", ["in"], ["out"])],
        "nothing",
        [onnx.helper.make_tensor_value_info("in", kind, images.shape)],
        [onnx.helper.make_tensor_value_info("out", kind, None)],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
