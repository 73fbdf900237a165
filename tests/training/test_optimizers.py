"""The optimisers compute what those of torch.optim do, without importing torch._dynamo."""

import subprocess
import sys
from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.training.optimizers import BETAS, Adam, Sgd
from pipeline.training.params import TrainingParams
from tests.conftest import tiny


@given(st.floats(0, 0.99), st.floats(0, 0.1), st.integers(0, 99))
def test_sgd_is_that_of_torch_bit_for_bit(momentum: float, decay: float, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    ours = [nn.Parameter(torch.randn(3, 4, generator=source)) for _ in range(3)]
    theirs = [nn.Parameter(one.detach().clone()) for one in ours]
    sgd = Sgd.of(ours, tiny(TrainingParams, momentum=momentum, weight_decay=decay))
    torchs = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=decay, fused=True)
    for parameter in theirs:
        torchs.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    for number in range(4):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(3, 4, generator=source) if index != number else None
            one.grad, other.grad = gradient, gradient
        sgd.step(0.1)
        torchs.step()
    assert all(map(torch.equal, ours, theirs))


@given(st.floats(0.1, 0.99), st.floats(0, 0.1), st.integers(0, 99))
def test_nesterov_and_what_does_not_decay_are_those_of_torch_bit_for_bit(
    momentum: float, decay: float, seed: int
) -> None:
    source = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (4,), (2, 3, 1, 1), ()]
    ours = [nn.Parameter(torch.randn(shape, generator=source)) for shape in shapes]
    theirs = [nn.Parameter(one.detach().clone()) for one in ours]
    plain = Sgd.of(ours, tiny(TrainingParams, momentum=momentum, weight_decay=decay))
    sgd = replace(plain, nesterov=True, decays_all=False)
    groups = [
        {"params": [one for one in theirs if one.ndim > 1], "weight_decay": decay},
        {"params": [one for one in theirs if one.ndim < 2], "weight_decay": 0.0},
    ]
    torchs = torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=True, fused=True)
    for parameter in theirs:
        torchs.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=source)
        sgd.step(0.1)
        torchs.step()
    assert all(map(torch.equal, ours, theirs))


@given(st.integers(0, 99), st.sampled_from([1.0, 0.5]))
def test_adam_is_that_of_torch_bit_for_bit(seed: int, slowdown: float) -> None:
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, generator=source)
    theirs = nn.Parameter(logits.clone())
    adam = Adam(logits.requires_grad_(), 0.1)
    torchs = torch.optim.Adam([theirs], lr=0.1 * slowdown, betas=BETAS, foreach=False)
    for _ in range(4):
        theirs.grad = torch.randn(2, 5, generator=source)
        adam.step(theirs.grad, slowdown)
        torchs.step()
    assert torch.equal(logits, theirs)


def test_training_does_not_import_torchs_compiler() -> None:
    code = """
import sys, torch
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams
from tests.conftest import tiny
weights = torch.nn.Parameter(torch.zeros(2))
weights.grad = torch.ones(2)
Sgd.of([weights], tiny(TrainingParams)).step(0.1)
Adam(torch.zeros(2), 0.1).step(torch.ones(2))
assert not any(name.startswith("torch._dynamo") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
