"""An epoch uses every image once, in steps that each have their own learning rate."""

from dataclasses import replace

import pytest
import torch

from pipeline.training.context import Epoch
from pipeline.warming.params import WarmupParams
from tests.conftest import context, tiny
from tests.phases import PLAIN


def epoch(done: int = 0, **changes: object) -> Epoch:
    params = tiny(WarmupParams, **changes)
    return Epoch(
        phase="warmup", number=done + 1, done=done, epochs=4, schedule=params, losses=[1.0] * done
    )


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("slowdown", [1.0, 0.25])
def test_the_rate_of_a_step_is_that_of_the_schedule_when_it_begins(
    done: int, slowdown: float
) -> None:
    one = epoch(done, schedule="linear", learning_rate=0.5, learning_rate_end=0.1)
    steps = list(replace(context(20), slowdown=slowdown).steps(one))
    assert [step.number for step in steps] == [0, 1, 2]
    assert [len(step.batch[1]) for step in steps] == [8, 8, 4]
    begun = [(done + seen / 20) / 4 for seen in (0, 8, 16)]
    wanted = [slowdown * (0.5 - 0.4 * progress) for progress in begun]
    assert [step.learning_rate for step in steps] == pytest.approx(wanted)


def test_an_epoch_has_every_image_once_and_another_epoch_another_order() -> None:
    given = context(20, augmentation=PLAIN)
    orders = [torch.cat([step.batch[0] for step in given.steps(epoch(done))]) for done in (0, 0, 1)]
    assert len(orders[0].unique(dim=0)) == 20
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_what_is_left_falls_evenly_from_1_and_is_never_0() -> None:
    assert [epoch(done).left for done in range(4)] == [1.0, 0.75, 0.5, 0.25]
