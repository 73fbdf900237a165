"""Resizing inside the exported file, before the network, so that it takes images of any size.

It computes what Pillow does in `pipeline/photos/decoding.py`: it takes the largest central part
that has the network's shape, or the whole image, and scales it by a cubic filter that widens with
the reduction (Keys 1981, a = -0.5). Pillow sums along the rows, rounds to whole levels, sums along
the columns and rounds again; this does the same with two products of matrices. The runtime needs
only arithmetic.

From version 13, Pillow begins with the columns if an image is much taller than wide, for speed.
Photographs then differ by up to 7 levels, 0.3 on average (reduced by 1 to 10 to 9x9 to 64x64
pixels); all other images differ by one level, rarely two, in few pixels.

ONNX's own Resize (cubic, antialias, exclude_outside) is within a level of Pillow on whole images.
But it cannot take a part that begins between two pixels, nor read pixels beyond a part that was cut
out: cut at whole pixels, noise of 90x61 was up to 46 levels off, and of 64x48, 15.

N images, H x W pixels, C channels; h x w: what the network takes.
"""

import onnx
import onnx.compose
import onnx.utils
import torch
from torch import Tensor, nn

from pipeline.exporting.exporter import to_onnx
from pipeline.prepared.facts import Fit

PREFIX = "resizing_"
"""Prefix of the names of all nodes and tensors of resizing in the file."""

RESIZED = f"{PREFIX}pixels"


class Resizing(nn.Module):
    """(N, H, W, C) uint8 of any H and W -> (N, h, w, C) uint8; h x w stay as they are."""

    def __init__(self, height: int, width: int, fit: Fit = "crop") -> None:
        super().__init__()
        self.height, self.width, self.fit = height, width, fit

    def forward(self, images: Tensor) -> Tensor:
        """Scale along the rows, then along the columns."""
        pixels = images.permute(0, 3, 1, 2).float()
        # As tensors, because free sizes are not numbers while torch exports.
        rows, columns = (torch.scalar_tensor(length) for length in pixels.shape[2:])
        if self.fit == "crop":
            scale = torch.minimum(rows / self.height, columns / self.width)
            across = _weights(torch.arange(pixels.shape[3]), columns, self.width, scale)
            down = _weights(torch.arange(pixels.shape[2]), rows, self.height, scale)
        else:
            across = _padded(torch.arange(pixels.shape[3]), columns, self.width, rows, self.height)
            down = _padded(torch.arange(pixels.shape[2]), rows, self.height, columns, self.width)
        resized = _levels(down @ _levels(pixels @ across.T))
        return resized.permute(0, 2, 3, 1).to(torch.uint8)


def resizing_model(
    name: str, *, height: int, width: int, channels: int, fit: Fit
) -> onnx.ModelProto:
    """Return `Resizing` as a model with an input of this name and the output `RESIZED`."""
    # Lengths that differ from each other and the network's: torch takes equal ones for one.
    example = torch.zeros(2, 2 * height + 1, 3 * width + 2, channels, dtype=torch.uint8)
    exported = to_onnx(
        Resizing(height, width, fit),
        example,
        name=name,
        outputs=[RESIZED.removeprefix(PREFIX)],
        free=("batch", "height", "width"),
    )
    model: onnx.ModelProto = onnx.compose.add_prefix(exported, PREFIX)
    model.graph.input[0].name = name
    for node in model.graph.node:
        node.input[:] = [name if one == PREFIX + name else one for one in node.input]
    return model


def join(first: onnx.ModelProto, rest: onnx.ModelProto) -> onnx.ModelProto:
    """Return `rest`, changed in place: it now takes the output of `first` as its input."""
    first.graph.ClearField("value_info")  # follows from the rest, and may be in both
    ends = first.graph.output[0].name, rest.graph.input[0].name
    rest.graph.CopyFrom(onnx.compose.merge_graphs(first.graph, rest.graph, io_map=[ends]))
    return rest


def take_apart(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Split a joined model into its resizing and the rest."""
    parts = onnx.utils.Extractor(model)
    ends = [[end.name for end in side] for side in (model.graph.input, model.graph.output)]
    return parts.extract_model(ends[0], [RESIZED]), parts.extract_model([RESIZED], ends[1])


def _weights(positions: Tensor, length: Tensor, count: int, scale: Tensor) -> Tensor:
    """Return (count, length): the weight of each old pixel in each new one; rows sum to 1.

    positions: positions 0, 1, ... of the old pixels. length: number of old pixels. scale: old
    pixels per new one. If the `count` new pixels cover less than the old ones, they are centred.
    """
    centres = (length - count * scale) / 2 + (torch.arange(count) + 0.5) * scale
    return _cubic(positions, centres, scale)


def _padded(
    positions: Tensor, length: Tensor, count: int, other_length: Tensor, other_count: int
) -> Tensor:
    """Return (count, length) as `_weights`, for the whole image; rows beyond it are 0, black.

    other_length, other_count: those of the other side, for which the image may be too long.
    """
    # In the order and precision of Pillow: what is rounded may be halfway between two numbers.
    shown = (length.double() / other_length.double() * other_count).round().clamp(max=count).float()
    places = torch.arange(count) - ((count - shown) / 2).round()
    weights = _cubic(positions, (places + 0.5) * length / shown, length / shown)
    inside = (places >= 0) & (places < shown)
    return torch.where(inside[:, None], weights, 0.0)


def _cubic(positions: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
    """Return the weights of the old pixels at `positions` in new pixels with these centres."""
    distance = (positions + 0.5 - centres[:, None]).abs() / scale.clamp(min=1)
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdim=True)


def _levels(values: Tensor) -> Tensor:
    """Round to whole levels of 0 to 255, halves up."""
    return (values + 0.5).floor().clamp(0, 255)
