"""Every search space by its name in `network.space`."""

from pipeline.space.space import Space
from pipeline.space.spaces.darts import DARTS
from pipeline.space.spaces.nasbench201 import NASBENCH201
from pipeline.space.spaces.residual import RESIDUAL

SPACES: dict[str, Space] = {one.name: one for one in (DARTS, NASBENCH201, RESIDUAL)}
