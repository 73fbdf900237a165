"""The state of growth: a search, the growths so far, and what to go back to."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from pipeline.batches.params import AugmentationParams
from pipeline.growing.params import GrowthParams, Kind
from pipeline.growing.policy import Size
from pipeline.searching import state as searching
from pipeline.searching.params import SearchParams
from pipeline.searching.state import SearchState, anneal_rate, arch_learning_rate
from pipeline.space.checkpoint import Checkpoint
from pipeline.space.params import NetworkParams
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth.

    Accuracies are means over `settle` epochs, fractions of 1; max_difference is of logits, None
    where memory lacked to build the network.
    """

    epoch: int
    kind: Kind
    cells_before: int
    cells: int
    channels_before: int
    channels: int
    parameters_before: int
    parameters: int
    max_difference: float | None
    verdict: str = "settling"
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0


@dataclass(slots=True, kw_only=True)
class Trial:
    """A growth that has not settled: what to go back to."""

    event: Event
    state: SearchState
    accuracies: list[float]


@dataclass(slots=True, kw_only=True)
class GrowthState:
    """The complete state of the stage.

    accuracies: validation accuracy of each epoch since the network last changed. last:
    kind of the newest accepted growth. refused: kinds that were not kept, with the size they were
    tried at.
    """

    search: SearchState
    accuracies: list[float] = field(default_factory=list)
    last: Kind | None = None
    refused: frozenset[tuple[Kind, Size]] = frozenset()
    trial: Trial | None = None
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The params of the stage and of what it goes on with."""

    network: NetworkParams
    training: TrainingParams
    augmentation: AugmentationParams
    search: SearchParams
    growth: GrowthParams


def start(searched: Checkpoint, recipe: Recipe, *, images: int) -> GrowthState:
    """Go on from search: its weights, logits and temperature; the optimisers begin anew.

    images: number of training images, which decides the rate of the logits as in search.
    """
    logits = searched.searched().requires_grad_()
    rate = arch_learning_rate(recipe.search, recipe.training, images)
    return GrowthState(
        search=SearchState(
            network=searched.network,
            optimizer=Sgd.of(searched.network.parameters(), recipe.training),
            logits=logits,
            logit_optimizer=Adam(logits, rate),
            temperature=searched.fact("temperature"),
            micro_batch=recipe.training.batch_size,
            anneal_rate=anneal_rate(recipe.search, recipe.training, images),
            epoch=searched.fact("epoch"),
            first_epoch=searched.fact("epoch"),
        )
    )


def snapshot(state: GrowthState) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    trial = state.trial
    return {
        "search": searching.snapshot(state.search),
        "accuracies": state.accuracies,
        "last": state.last,
        "refused": [[kind, asdict(tried)] for kind, tried in sorted(state.refused, key=str)],
        "trial": trial
        and {"state": searching.snapshot(trial.state), "accuracies": trial.accuracies},
        "events": [asdict(event) for event in state.events],
    }


def resumed(saved: dict[str, Any], training: TrainingParams, device: torch.device) -> GrowthState:
    """Return the state of a snapshot."""
    events = [Event(**event) for event in saved["events"]]
    trial = saved["trial"]
    return GrowthState(
        search=searching.resumed(saved["search"], training, device),
        accuracies=saved["accuracies"],
        last=saved["last"],
        refused=frozenset((kind, Size(**tried)) for kind, tried in saved["refused"]),
        trial=trial
        and Trial(
            event=events[-1],
            state=searching.resumed(trial["state"], training, device),
            accuracies=trial["accuracies"],
        ),
        events=events,
    )


def summarize(events: list[Event]) -> dict[str, float]:
    """Return how many growths had each verdict, and the largest difference of logits."""
    verdicts = [event.verdict for event in events]
    return {
        "growths_accepted": verdicts.count("accepted"),
        "growths_rolled_back": verdicts.count("rolled back"),
        "growths_refused": verdicts.count("refused"),
        "growth_max_difference": max(
            (event.max_difference for event in events if event.max_difference is not None),
            default=0.0,
        ),
    }
