"""Search spaces as data: what the cells of one have in common."""

from dataclasses import dataclass

from pipeline.space.params import SpaceName


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a search space fixes; its candidates and its modules are in files of their own.

    inputs: earlier outputs that a cell reads, which are its sources 0 to inputs - 1.
    rectifies: it reads them after a ReLU.
    concatenates: a cell's output is all of its nodes, not the last one alone.
    cuts: `none` may win an edge; an edge that it wins is absent from the genotype.
    adapts: a cell brings what it reads to its own channels; else the stem has the first cell's.
    own_reduction: where cells share an architecture, reduction cells share another one.
    """

    inputs: int
    rectifies: bool
    concatenates: bool
    cuts: bool
    adapts: bool
    own_reduction: bool


SPACES: dict[SpaceName, Space] = {
    "darts": Space(
        inputs=2, rectifies=True, concatenates=True, cuts=False, adapts=True, own_reduction=True
    ),
    "nasbench201": Space(
        inputs=1, rectifies=False, concatenates=False, cuts=True, adapts=False, own_reduction=False
    ),
}
"""Liu et al. 2019; Dong & Yang 2020."""
