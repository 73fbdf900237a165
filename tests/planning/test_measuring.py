"""The network that optimize is measured with."""

import pytest

from pipeline.deciding.decision import decide
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import choose, extend, size
from pipeline.planning.measuring import largest_blueprint
from pipeline.space.genotype import check_fit
from pipeline.targeting.budget import Budget
from pipeline.targeting.params import TargetParams
from tests.conftest import random_logits, tiny, tiny_blueprint

FREE = Budget(target=TargetParams(), image_size=(8, 8))


@pytest.mark.parametrize("share", [True, False])
def test_the_largest_network_uses_the_budget_and_a_genotype_fits_it(*, share: bool) -> None:
    blueprint = tiny_blueprint(share_logits=share)
    genotype = decide(random_logits(blueprint), blueprint)
    params = tiny(GrowthParams)
    largest = largest_blueprint(blueprint, genotype, FREE, params)
    assert (size(largest).cells, size(largest).channels) == (params.max_cells, params.max_channels)
    assert choose(largest, genotype, FREE, params, last=None, refused=frozenset()) is None
    check_fit(extend(genotype, largest), largest)


def test_without_a_kind_of_growth_it_is_the_network_of_search() -> None:
    blueprint = tiny_blueprint()
    genotype = decide(random_logits(blueprint), blueprint)
    assert largest_blueprint(blueprint, genotype, FREE, tiny(GrowthParams, kinds=())) == blueprint
