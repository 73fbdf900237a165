"""A chain of residual layers, in which ResNets and networks like MobileNet are members.

A cell is one layer: its input plus a branch, or its input alone. The branches are the basic block
(He et al. 2016), the inverted bottleneck (Sandler et al. 2018, searched as in Cai et al. 2019), and
two separable convolutions (Chollet 2017). Every layer decides for itself. Before a reduction cell
stands a basic block that halves the resolution and doubles the channels.
"""

from collections.abc import Sequence

from pipeline.space.layers import Convolution, DepthwiseConvolution, Layer, Norm, Relu
from pipeline.space.space import SKIP, Input, Operation, Space


def _basic() -> tuple[Layer, ...]:
    return (Relu(), Convolution(3), Norm(), Relu(inplace=True), Convolution(3), Norm())


def _inverted_bottleneck(kernel: int, expansion: int) -> tuple[Layer, ...]:
    return (
        Convolution(1, outputs=expansion),
        Norm(expansion),
        Relu(inplace=True),
        DepthwiseConvolution(kernel, width=expansion),
        Norm(expansion),
        Relu(inplace=True),
        Convolution(1, inputs=expansion),
        Norm(),
    )


def _separable(kernel: int) -> tuple[Layer, ...]:
    return (
        *(Relu(), DepthwiseConvolution(kernel), Convolution(1), Norm()),
        *(Relu(inplace=True), DepthwiseConvolution(kernel), Convolution(1), Norm()),
    )


def resnet(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the operations of a ResNet (He et al. 2016, section 4.2), one for each cell.

    With 9 cells it is their ResNet-20: where the resolution halves, the basic block before the
    cell is the layer.
    """
    return tuple(SKIP if kind == "reduction" else "basic_3x3" for kind in kinds)


RESIDUAL = Space(
    name="residual",
    operations=(
        Operation(name=SKIP, color="#2fa866", layers=None),
        Operation(name="basic_3x3", color="#3d8bfd", layers=_basic()),
        Operation(name="mb3_conv_3x3", color="#e8913a", layers=_inverted_bottleneck(3, 3)),
        Operation(name="mb3_conv_5x5", color="#d9bd3c", layers=_inverted_bottleneck(5, 3)),
        Operation(name="mb6_conv_3x3", color="#e5534b", layers=_inverted_bottleneck(3, 6)),
        Operation(name="mb6_conv_5x5", color="#ee86ad", layers=_inverted_bottleneck(5, 6)),
        Operation(name="sep_conv_3x3", color="#9450d8", layers=_separable(3)),
        Operation(name="sep_conv_5x5", color="#c472ec", layers=_separable(5)),
    ),
    inputs=(Input(label="cell k−1", words="the cell's input"),),
    rectifies=False,
    adapts=False,
    concatenates=False,
    adds_input=True,
    normalises=True,
    cuts=False,
    own_reduction=False,
    edges_per_node=1,
    fixed={"nodes": 1, "stem_multiplier": 1, "edges_per_node": 1, "share_logits": False},
    output="A cell's output is its input plus its node, to which skip_connect adds nothing"
    " (He et al. 2016). Before a reduction cell a basic block halves the resolution.",
    joins="branch",
    reference=resnet,
)
