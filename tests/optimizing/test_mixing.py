"""Images are mixed in pairs, each by a share of its own, and so are their losses."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from pipeline.batches.randomness import generator
from pipeline.optimizing.loss import Loss
from pipeline.optimizing.mixing import mix, partners
from pipeline.optimizing.params import LEAST_ALPHA, OptimizeParams
from tests.conftest import context, identical, random_images, snapshot, tiny
from tests.phases import optimizing, train

ALPHAS = st.floats(0.05, 10)


def batch(count: int, side: int = 8) -> torch.Tensor:
    """Return images whose pixels all differ."""
    pixels = torch.randperm(count * 3 * side * side, generator=generator(0, "pixels")).float()
    images = pixels.reshape(count, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last)


@given(ALPHAS, st.integers(2, 9), st.integers(0, 99))
def test_mixup_blends_every_pixel_by_the_share_that_it_returns(
    alpha: float, count: int, seed: int
) -> None:
    images = batch(count)
    mixed, own = mix(images, mixup=alpha, cutmix=0.0, generator=generator(seed, "mix"))
    share = own[:, None, None, None]
    blended = share * images + (1 - share) * partners(images)
    torch.testing.assert_close(mixed, blended, rtol=1e-5, atol=1e-3)
    assert ((own >= 0.5) & (own <= 1)).all()
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@given(ALPHAS, st.integers(2, 9), st.integers(1, 9), st.integers(0, 99))
def test_cutmix_pastes_a_rectangle_and_returns_what_is_left(
    alpha: float, count: int, side: int, seed: int
) -> None:
    images = batch(count, side)
    mixed, own = mix(images, mixup=0.0, cutmix=alpha, generator=generator(seed, "mix"))
    pasted = mixed != images
    assert torch.equal(mixed[pasted], partners(images)[pasted])
    where = pasted[:, 0]
    assert torch.equal(pasted, where[:, None].expand_as(pasted))
    assert torch.equal(where, where.any(2)[:, :, None] & where.any(1)[:, None])
    torch.testing.assert_close(1 - own, where.float().mean((1, 2)))
    assert (own >= 0.5).all()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 10.0])
def test_shares_have_the_larger_part_of_a_beta_distribution(alpha: float) -> None:
    images = torch.zeros(4000, 1, 1, 1)
    _, own = mix(images, mixup=alpha, cutmix=0.0, generator=generator(0, "mix"))
    expected = beta(alpha, alpha)
    found = kstest(own.double().numpy(), lambda share: 2 * expected.cdf(share) - 1)
    assert found.pvalue > 0.01


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_parameter_too_small_to_draw_from_is_refused(name: str) -> None:
    tiny(OptimizeParams, **{name: LEAST_ALPHA})
    with pytest.raises(ValueError, match=r"expected 0, or at least 0\.01, got 0\.001"):
        tiny(OptimizeParams, **{name: 0.001})


def test_with_both_an_image_is_mixed_in_one_of_the_two_ways() -> None:
    images = batch(400)
    mixed, _ = mix(images, mixup=1.0, cutmix=1.0, generator=generator(0, "mix"))
    blended = (mixed != images) & (mixed != partners(images))
    of_each = blended.flatten(1).float().mean(1)
    assert ((of_each == 0) | (of_each > 0.9)).all()
    assert 0.4 < float((of_each == 0).float().mean()) < 0.6


@given(st.floats(0, 1), st.integers(0, 99))
def test_the_loss_of_a_mixed_image_has_the_shares_of_both_labels(balance: float, seed: int) -> None:
    images = random_images(12, seed=seed)
    logits = torch.randn(12, 3, generator=generator(seed, "logits"))
    own = torch.rand(12, generator=generator(seed, "own"))
    loss = Loss.of(tiny(OptimizeParams, balance=balance), images, 3)
    weights = torch.ones(3) if loss.weights is None else loss.weights
    expected = sum(
        share[:, None] * weights[labels][:, None] * F.one_hot(labels, 3)
        for labels, share in ((images.labels, own), (partners(images.labels), 1 - own))
    )
    smooth = 0.9 * expected + 0.1 / 3 * expected.sum(1, keepdim=True)
    by_hand = -(smooth * logits.log_softmax(1)).sum(1).mean()
    assert float(loss(logits, images.labels, own)) == pytest.approx(float(by_hand), rel=1e-4)


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_mixing_changes_what_is_trained_by_the_seed_alone(
    changes: dict[str, float], checkpoint: Path
) -> None:
    def trained(seed: int, **given: float) -> dict[str, torch.Tensor]:
        phase = optimizing(checkpoint, context(seed=seed), auxiliary_weight=0.4, **given)
        state = phase.begin()
        train(phase, state)
        return snapshot(state.result)

    mixed = trained(0, **changes)
    assert identical(mixed, trained(0, **changes))
    assert not identical(mixed, trained(0))
