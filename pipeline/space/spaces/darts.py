"""The search space of DARTS (Liu et al. 2019), with operations of NASNet (Zoph et al. 2018)."""

from pipeline.space.layers import (
    AveragePool,
    Convolution,
    DepthwiseConvolution,
    Identity,
    Layer,
    MaxPool,
    Norm,
    Relu,
    Strip,
)
from pipeline.space.space import Input, Operation, Space


def _separable(kernel: int, *, dilation: int = 1, inplace: bool = False) -> tuple[Layer, ...]:
    depthwise = DepthwiseConvolution(kernel, dilation)
    return (Relu(inplace), depthwise, Convolution(1), Norm())


def _separable_twice(kernel: int) -> tuple[Layer, ...]:
    return (*_separable(kernel), *_separable(kernel, inplace=True))


def _plain(kernel: int) -> tuple[Layer, ...]:
    return (Relu(), Convolution(kernel), Norm())


DARTS = Space(
    name="darts",
    operations=(
        Operation(name="none", color="#8a96a3", layers=None),
        Operation(name="max_pool_3x3", color="#e8913a", layers=(MaxPool(), Norm())),
        Operation(name="avg_pool_3x3", color="#d9bd3c", layers=(AveragePool(), Norm())),
        Operation(name="skip_connect", color="#2fa866", layers=(Identity(),)),
        Operation(name="sep_conv_3x3", color="#3d8bfd", layers=_separable_twice(3)),
        Operation(name="sep_conv_5x5", color="#6070ee", layers=_separable_twice(5)),
        Operation(name="dil_conv_3x3", color="#c472ec", layers=_separable(3, dilation=2)),
        Operation(name="dil_conv_5x5", color="#9450d8", layers=_separable(5, dilation=2)),
        Operation(name="sep_conv_7x7", color="#24b3c4", layers=_separable_twice(7)),
        Operation(
            name="conv_7x1_1x7",
            color="#e5534b",
            layers=(Relu(), Strip(7, "width"), Strip(7, "height"), Norm()),
        ),
        Operation(name="conv_1x1", color="#ee86ad", layers=_plain(1)),
        Operation(name="conv_3x3", color="#b0733d", layers=_plain(3)),
    ),
    inputs=(
        Input(label="cell k−2", words="the cell before the previous one"),
        Input(label="cell k−1", words="the previous cell"),
    ),
    rectifies=True,
    adapts=True,
    concatenates=True,
    normalises=False,
    cuts=False,
    own_reduction=True,
    edges_per_node=2,
    output="A cell's output concatenates its nodes (Liu et al. 2019).",
    joins="concat",
)
