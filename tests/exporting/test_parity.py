"""A model that computes something else is refused, even if its classes are right."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.batches.batches import normalise
from pipeline.exporting.onnx_file import ModelFacts
from pipeline.exporting.params import ExportParams
from pipeline.exporting.parity import Parity, measure_parity, require_parity
from pipeline.harness.errors import ParityError
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.network import Network

pytestmark = pytest.mark.xdist_group("exporting")

LIMIT = ExportParams().max_difference


class OffOn(nn.Module):
    """The network, except for one image, whose logits are all 1 too high."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.network, self.image = network, image

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits + (images == self.image).all((1, 2, 3))[:, None].float()


def test_an_export_agrees_with_torch(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    parity = measure_parity(exported, network, pixels, facts.mean, facts.std)
    assert parity.images == len(pixels)
    assert parity.max_difference < LIMIT / 5
    assert parity.agreement == 1
    require_parity(parity, LIMIT)


def test_a_wrong_mean_is_caught_though_classes_agree(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    mean = [value + 0.002 for value in facts.mean]
    refused(measure_parity(exported, network, pixels, mean, facts.std))


def test_a_deviation_1_percent_off_is_caught_though_classes_agree(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    std = [1.01 * value for value in facts.std]
    refused(measure_parity(exported, network, pixels, facts.mean, std))


def test_a_wrong_epsilon_of_batchnorm_is_caught_though_classes_agree(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    other = copy.deepcopy(network)
    for module in other.modules():
        if isinstance(module, BatchNorm):
            module.epsilon = 1e-3
    refused(measure_parity(exported, other, pixels, facts.mean, facts.std))


def test_one_wrong_image_is_enough(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    mean, std = torch.tensor(facts.mean), torch.tensor(facts.std)
    last = normalise(pixels[-1:].permute(0, 3, 1, 2), mean, std)
    parity = measure_parity(exported, OffOn(network, last), pixels, facts.mean, facts.std)
    assert parity.max_difference == pytest.approx(1, abs=LIMIT)


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ParityError):
        require_parity(Parity(images=1, max_difference=float("nan"), agreement=1), LIMIT)


def test_no_image_is_no_proof(
    exported: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    with pytest.raises(ParityError, match="no test image"):
        measure_parity(exported, network, pixels[:0], facts.mean, facts.std)


def refused(parity: Parity) -> None:
    assert parity.agreement == 1
    with pytest.raises(ParityError) as error:
        require_parity(parity, LIMIT)
    message = str(error.value)
    assert "\n" not in message
    assert f"{parity.max_difference:.2e}, expected at most 1.00e-04" in message
