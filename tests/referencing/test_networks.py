"""The reference networks have the size of the found network, and are what their names say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.optimizing.dropping import kept_paths
from pipeline.referencing.random_architecture import of_size, parameters_of, random_genotype
from pipeline.referencing.resnet import ResNet, build_resnet, width_of_size
from pipeline.space.blueprint import STEM_FACTORS, plan
from pipeline.space.network import build
from pipeline.space.params import NetworkParams
from pipeline.space.registry import SPACES
from tests.conftest import costly, of_space, tiny

CPU = torch.device("cpu")


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_a_resnet_of_16_channels_is_the_resnet_20_of_he() -> None:
    network = ResNet(3, 16, 10, stem=1)
    convolutions = [one for one in network.modules() if isinstance(one, torch.nn.Conv2d)]
    in_the_path = [one for one in convolutions if one.kernel_size == (3, 3)]
    assert len(in_the_path) + 1 == 20
    # He et al. 2016, table 6: 0.27 M; theirs pad where ours convolve, for 2,752 parameters more.
    assert count(network) == pytest.approx(0.27e6, rel=0.03)


@given(
    st.integers(2_000, 2_000_000),
    st.integers(1, 4),
    st.integers(2, 100),
    st.sampled_from(STEM_FACTORS),
)
def test_a_resnet_comes_as_near_to_a_size_as_its_width_allows(
    parameters: int, channels: int, classes: int, stem: int
) -> None:
    width = width_of_size(parameters, image_channels=channels, classes=classes, stem=stem)
    off = {
        w: abs(count(ResNet(channels, w, classes, stem=stem)) - parameters)
        for w in (width, width + 1)
    }
    assert off[width] <= off[width + 1]
    if width > 1:
        assert off[width] <= abs(
            count(ResNet(channels, width - 1, classes, stem=stem)) - parameters
        )


@pytest.mark.parametrize("stem", STEM_FACTORS)
@pytest.mark.parametrize("side", [1, 5, 8])
def test_a_resnet_takes_any_size_and_drops_paths_only_when_it_is_told(side: int, stem: int) -> None:
    source = generator(0, "test")
    network = build_resnet(3, 4, 5, stem=stem, generator=source, device=CPU).eval()
    images = torch.randn(6, 3, side, side, generator=source)
    whole = network(images)
    assert whole.shape == (6, 5)
    torch.testing.assert_close(network(images[:2]), whole[:2], rtol=1e-4, atol=1e-5)
    dropped = network(images, kept_paths(network.paths, 6, 0.9, generator(1, "drop")))
    assert not torch.allclose(dropped, whole)


@costly
@given(st.integers(0, 99), st.sampled_from([20_000, 150_000]), st.sampled_from(list(SPACES)))
def test_a_random_architecture_is_of_the_space_and_about_as_large_as_it_shall(
    seed: int, parameters: int, space: str
) -> None:
    params = tiny(NetworkParams, **of_space(space))
    blueprint = plan(params, image_channels=3, classes=3, image_size=8)
    source = generator(seed, "random")
    genotype = random_genotype(blueprint, params, source)
    scaled = of_size(blueprint, genotype, parameters)
    network = build(scaled, genotype, generator=source)
    assert count(network) == parameters_of(scaled, genotype)
    if any(genes for one in genotype.architectures for genes in one.nodes):
        assert count(network) == pytest.approx(parameters, rel=0.15)
    assert all(cell.channels % 2 == 0 for cell in scaled.cells)
    assert network(torch.randn(2, 3, 8, 8, generator=source)).shape == (2, 3)
    assert random_genotype(blueprint, params, generator(seed, "random")) == genotype
