"""The exported model: one ONNX file that takes raw pixels and explains itself.

Equal models give equal bytes, whatever the folder, the process and the date. The file says nothing
about the machine that wrote it.

N images, H x W pixels, C channels, K classes.
"""

import json
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from pipeline.batches.batches import normalise
from pipeline.exporting.exporter import OPSET, to_onnx
from pipeline.exporting.resizing import join, resizing_model
from pipeline.prepared.facts import Fit

FORMAT = 1
"""Version of the metadata and of the names, types and shapes of input and outputs."""

IR_VERSION = 8
"""Version of the file format. torch writes 10 for metadata that is removed here.

ONNX Runtime 1.15 and later load 8.
"""

INPUT = "images"
LOGITS, PROBABILITIES = "logits", "probabilities"
SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata in which torch notes the layers that a node is in, the outermost first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a person who has only the file must know.

    classes: names, in the order of the outputs. height, width: sides in pixels. mean, std:
    statistics of each channel, as fractions of 255. genotype: output of `Genotype.to_dict`.
    digests: name -> sha256 of an input of the model. fit: how images of another shape become
    squares. any_size: whether the model takes images of any size and resizes them to `height` x
    `width` itself. temperature: divisor of the logits in the probabilities, None if they are not
    calibrated. unsure_below: probability of the likeliest class below which an image may show none
    of the classes; None if that is not known.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    genotype: dict[str, object]
    digests: dict[str, str]
    fit: Fit = "crop"
    any_size: bool = False
    temperature: float | None = None
    unsure_below: float | None = None

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"{self.channels} channels, {len(self.mean)} means, {len(self.std)} deviations"
            )

    def to_dict(self) -> dict[str, object]:
        """Return the metadata of the ONNX file by key; each value can be written as JSON."""
        scores = {"type": "float32", "shape": ["batch", len(self.classes)]}
        fitted = {"temperature": self.temperature, "unsure_below": self.unsure_below}
        return {
            "format": FORMAT,
            "input": {
                "name": INPUT,
                "type": "uint8",
                "layout": "NHWC",
                "height": self.height,
                "width": self.width,
                "channels": self.channels,
                "any_size": self.any_size,
                # Left out of models that crop: then they are as before there was a choice.
                **({} if self.fit == "crop" else {"fit": self.fit}),
            },
            "outputs": {LOGITS: scores, PROBABILITIES: scores},
            "normalisation": {"inside": True, "scale": 255, "mean": self.mean, "std": self.std},
            "calibration": None if self.temperature is None else fitted,
            "classes": self.classes,
            "genotype": self.genotype,
            "digests": self.digests,
        }


def export_onnx(network: nn.Module, facts: ModelFacts) -> bytes:
    """Return the bytes of an ONNX file: `images` in, `logits` and `probabilities` out.

    Input: (N, H, W, C) uint8 for any N and, with `facts.any_size`, any H and W. Outputs: (N, K)
    float32. Normalisation is inside, BatchNorm is folded into the convolution before it.

    Args:
        network: on the CPU, in evaluation mode; (N, C, H, W) float32 normalised -> (N, K) logits.
        facts: written to the file as metadata; its mean and std normalise the pixels.

    Raises:
        ValueError: the network's number of outputs is not the number of classes.
    """
    # Two images, for torch takes a batch of one for a constant.
    example = torch.zeros(2, facts.height, facts.width, facts.channels, dtype=torch.uint8)
    model = to_onnx(
        _FromPixels(network, facts),
        example,
        name=INPUT,
        outputs=[LOGITS, PROBABILITIES],
        free=("batch",),
    )
    if facts.any_size:
        size = {"height": facts.height, "width": facts.width, "channels": facts.channels}
        model = join(resizing_model(INPUT, **size, fit=facts.fit), model)
    return seal(model, facts)


def seal(model: onnx.ModelProto, facts: ModelFacts) -> bytes:
    """Return the bytes of a model with `facts` as its only metadata.

    model: changed in place.

    Raises:
        ValueError: the model's number of outputs is not the number of classes.
    """
    _name_nodes(model)
    _remove_traces(model)
    _stamp(model, facts)
    _check(model, facts)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


class _FromPixels(nn.Module):
    """The network between raw pixels and probabilities, with training's own normalisation."""

    def __init__(self, network: nn.Module, facts: ModelFacts) -> None:
        super().__init__()
        self.network = network
        self.temperature = facts.temperature
        # Not `mean`: torch also gives that name to the output of the head's mean.
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(facts.mean))
        self.register_buffer("pixel_std", torch.tensor(facts.std))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) uint8 -> (N, K) logits, (N, K) probabilities."""
        pixels = images.permute(0, 3, 1, 2)
        logits = self.network(normalise(pixels, self.pixel_mean, self.pixel_std))
        scores = logits if self.temperature is None else logits / self.temperature
        return logits, scores.softmax(1)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name each node after the layer that it belongs to and what it does, if torch noted a layer.

    Such as cells.1.edges.2.operations.sep_conv_5x5.1.Conv; a second one of the same name has a 1.
    """
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        noted = {one.key: one.value for one in node.metadata_props}
        if SCOPES in noted:
            layer = literal_eval(noted[SCOPES])[-2].removeprefix("network").removeprefix(".")
            name = f"{layer}.{node.op_type}" if layer else node.op_type
            node.name = f"{name}_{taken[name]}" if taken[name] else name
            taken[name] += 1


def _remove_traces(message: Any) -> None:
    """Clear metadata and documentation at every depth, where torch notes its source lines.

    message: any protobuf message.
    """
    for field, value in message.ListFields():
        if field.name in {"metadata_props", "doc_string"}:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if isinstance(value, Sequence) else [value]:
                _remove_traces(part)


def _stamp(model: onnx.ModelProto, facts: ModelFacts) -> None:
    model.ir_version = IR_VERSION
    model.producer_name = "aso-se"
    model.ClearField("producer_version")
    model.graph.name = "classifier"
    model.doc_string = (
        f"Classifier of images of {len(facts.classes)} classes. In: raw pixels (N, H, W, C), uint8."
        " Out: logits and probabilities (N, K). What else a program needs is in the metadata."
    )
    for key, value in sorted(facts.to_dict().items()):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        model.metadata_props.add(key=key, value=text)


def _check(model: onnx.ModelProto, facts: ModelFacts) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    outputs = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if outputs != len(facts.classes):
        raise ValueError(f"the network has {outputs} outputs for {len(facts.classes)} classes")
