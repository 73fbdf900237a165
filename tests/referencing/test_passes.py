"""A reference of all passes trains on as many images as all phases of the pipeline did."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.alternating.params import SearchParams
from pipeline.growing.params import GrowthParams
from pipeline.optimizing.params import OptimizeParams
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.warming.params import WarmupParams
from tests.conftest import tiny


def passes(*, searched: int = 100, trained: int = 100, **search: object) -> int:
    return epochs_of_all_passes(
        tiny(WarmupParams, epochs=4),
        tiny(SearchParams, epochs=6, arch_update_freq=5, **search),
        tiny(GrowthParams, epochs=6),
        tiny(OptimizeParams, epochs=20),
        searched=searched,
        trained=trained,
    )


def test_epochs_of_all_phases_add_up_and_architecture_steps_count() -> None:
    assert passes(arch_gradient="gate") == 20 + 4 + 15  # 12 epochs and a quarter for their steps
    assert passes(arch_gradient="score", arch_paths=4) == 20 + 4 + 16  # 4 thirds of a quarter
    assert passes(arch_gradient="gate", searched=50) == 20 + round(19 / 2)


def test_finalists_count_too() -> None:
    finals = {"finalists": 4, "finalist_epochs": 2}
    with_finals = passes(searched=100_000, trained=100_000, arch_gradient="gate", **finals)
    assert with_finals == passes(arch_gradient="gate") + 2 * (4 + 2)
    few = passes(searched=1024, trained=1024, arch_gradient="gate", **finals)
    assert few == passes(arch_gradient="gate") + 2 * (4 + 2) + round(16 / 3)


@given(st.integers(2, 16), st.integers(1, 1000))
def test_the_reference_is_never_given_less_than_optimize(paths: int, searched: int) -> None:
    assert passes(arch_paths=paths, arch_gradient="score", searched=searched, trained=1000) >= 20
