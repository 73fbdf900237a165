"""When memory runs out, the same step is made in smaller parts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.devices.memory import at_a_time, parts, within_memory
from pipeline.harness.lacks import is_lack_of_memory
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.relaxation import skip_only
from pipeline.supernet.supernet import along
from pipeline.training.context import Step
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, descend, weight_step
from tests.conftest import tiny
from tests.phases import optimizing, searching, train, warming


def lack_on_the_host() -> None:
    torch.empty(1 << 50)  # the allocator's own refusal


def lack_on_a_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


LACKS = pytest.mark.parametrize("lack", [lack_on_the_host, lack_on_a_device])
Lack = Callable[[], None]


class Small(nn.Module):
    """A layer that lacks memory for more than `most` images, from a given call on."""

    def __init__(self, network: nn.Module, lack: Lack, *, most: int, first: int = 0) -> None:
        self.calls, self.sizes = 0, list[int]()

        def refuse(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self.calls += 1
            if self.calls > first and len(arguments[0]) > most:
                lack()
            self.sizes.append(len(arguments[0]))

        self.hook = network.register_forward_pre_hook(refuse)


@LACKS
def test_both_allocators_refusals_are_recognised(lack: Lack) -> None:
    with pytest.raises(RuntimeError) as caught:
        lack()
    assert is_lack_of_memory(caught.value)
    assert not is_lack_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@LACKS
def test_the_number_of_images_is_halved_until_it_fits(
    lack: Lack, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def compute(images: int) -> str:
        tried.append(images)
        if images > 3:
            lack()
        return "done"

    assert within_memory(compute, 25) == ("done", 2)
    assert tried == [25, 13, 7, 4, 2]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "out of memory: going on with 2 images at a time"


@LACKS
def test_one_image_that_does_not_fit_is_the_end(lack: Lack) -> None:
    tried = []

    def compute(images: int) -> None:
        tried.append(images)
        lack()

    with pytest.raises(RuntimeError) as caught:
        within_memory(compute, 4)
    assert is_lack_of_memory(caught.value)
    assert tried == [4, 2, 1]


def test_another_error_is_not_tried_again() -> None:
    tried = []

    def compute(images: int) -> None:
        tried.append(images)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        within_memory(compute, 4)
    assert tried == [4]


def test_what_an_attempt_held_is_free_before_the_next() -> None:
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def compute(images: int) -> int:
        assert not alive
        held = Held()
        held.itself = held  # type: ignore[attr-defined]  # only the collector frees it
        if images > 1:
            lack_on_a_device()
        return images

    within_memory(compute, 8)


@given(st.integers(2, 200), st.integers(2, 64))
def test_parts_are_all_of_the_batch_and_none_is_a_single_image(count: int, size: int) -> None:
    batch = torch.arange(count)
    found = list(parts(batch, batch, size))
    assert torch.equal(torch.cat([images for images, _ in found]), batch)
    assert all(2 <= len(images) <= size + 1 for images, _ in found)


def test_a_batch_that_took_in_a_last_single_image_is_one_part() -> None:
    assert len(list(parts(torch.zeros(65), torch.zeros(65), 64))) == 1


@pytest.mark.parametrize("size", [1, 3, 5, 8, 100])
def test_the_gradient_of_the_parts_is_that_of_the_whole(size: int) -> None:
    """The network has no BatchNorm, the only layer in which images depend on each other."""
    source = torch.Generator().manual_seed(0)
    images, labels = torch.randn(8, 6, generator=source), torch.arange(8) % 3
    gradients = []
    for most in (8, size):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        params = tiny(TrainingParams, momentum=0.0, weight_decay=0.0, gradient_clip=100.0)
        optimizer = Sgd.of(network.parameters(), params)
        losses = (
            F.cross_entropy(network(some), targets) * (len(targets) / 8)
            for some, targets in parts(images, labels, most)
        )
        norm = descend(optimizer, losses, learning_rate=0.1)
        gradients.append([norm, *(parameter.grad for parameter in network.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@LACKS
def test_an_epoch_of_search_short_of_memory_makes_the_same_steps_in_parts(
    lack: Lack, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BatchNorm is the only layer that normalises a part by other statistics than the whole.
    monkeypatch.setattr(BatchNorm, "forward", lambda _, images: images.clamp(-3, 3))
    phase = searching(checkpoint)
    whole, divided = phase.begin(), phase.begin()
    small = Small(divided.network, lack, most=3, first=1)
    for state in (whole, divided):
        train(phase, state, most=1)
    assert (whole.micro_batch, divided.micro_batch) == (8, 2)
    assert max(small.sizes[1:]) <= 3
    assert whole.steps == divided.steps == 3
    torch.testing.assert_close(whole.logits, divided.logits, rtol=1e-4, atol=1e-6)
    for one, other in zip(whole.network.parameters(), divided.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@LACKS
def test_optimize_goes_on_in_parts_and_remembers_it(lack: Lack, checkpoint: Path) -> None:
    phase = optimizing(checkpoint, auxiliary_weight=0.4, drop_path=0.2, ema_decay=0.9)
    phase = replace(phase, watch=None)
    state = phase.begin()
    small = Small(state.network.stem, lack, most=4, first=2)
    rows = train(phase, state)
    assert [row["micro_batch"] for row in rows] == [4, 4]
    assert small.sizes == [8, 8, *[4] * 8]
    assert phase.resumed(phase.snapshot(state)).micro_batch == 4


@LACKS
def test_a_failed_attempt_counts_no_image_twice(lack: Lack) -> None:
    state, tally = warming().begin(), Tally()
    small = Small(state.network, lack, most=5)
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    step = Step(number=0, batch=(images, torch.arange(8) % 3), learning_rate=0.1)
    path = skip_only(state.network.blueprint)
    weight_step(state, step, partial(along, state.network, path), tally)
    assert small.sizes == [4, 4]
    assert (tally.images, tally.steps) == (8, 1)


def test_several_processes_do_not_go_on_with_the_parts_of_one_that_was_short_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert at_a_time(4, 64) == 4
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert at_a_time(4, 64) == 64
