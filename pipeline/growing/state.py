"""The state of growth: a search, the growths so far, and the state to roll back to."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.alternating import state as searching
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.events.event import Event, Kind, read_events
from pipeline.growing.policy import Size
from pipeline.space.checkpoint import Checkpoint
from pipeline.supernet.supernet import SupernetContext


@dataclass(slots=True, kw_only=True)
class Trial:
    """A growth that has not settled, with the state to roll back to."""

    event: Event
    state: SearchState
    accuracies: list[float]
    genotypes: list[float]


@dataclass(slots=True, kw_only=True)
class GrowthState:
    """The complete state of the stage.

    accuracies, genotypes: validation accuracies of each epoch since the network last changed, along
    sampled paths and of the most likely network. last: kind of the newest accepted growth. refused:
    kinds that were not kept, with the size they were tried at. exploring: probability with which
    the edges of weight steps explore.
    """

    search: SearchState
    accuracies: list[float] = field(default_factory=list)
    genotypes: list[float] = field(default_factory=list)
    exploring: float = 0.0
    last: Kind | None = None
    refused: frozenset[tuple[Kind, Size]] = frozenset()
    trial: Trial | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done since the start of warmup."""
        return self.search.epoch

    def roll_back(self, trial: Trial) -> None:
        """Return to the state before a growth; that kind is not tried again at that size."""
        event = trial.event
        tried = Size(
            cells=event.cells_before, channels=event.channels_before, nodes=event.nodes_before
        )
        self.refused |= {(event.kind, tried)}
        trial.state.epoch, trial.state.seen = self.search.epoch, self.search.seen
        self.search, self.trial = trial.state, None
        self.accuracies, self.genotypes = trial.accuracies, trial.genotypes


def start(searched: Checkpoint, context: SupernetContext, params: SearchParams) -> GrowthState:
    """Return a state with search's weights, logits and temperature, and new optimisers."""
    logits, temperature = searched.searched(), searched.fact("temperature")
    return GrowthState(
        search=searching.continued(searched, logits, context, params, temperature=temperature)
    )


def snapshot(state: GrowthState) -> dict[str, Any]:
    """Return the state as JSON values and tensors, which are not copied."""
    trial = state.trial
    return {
        "search": searching.snapshot(state.search),
        "accuracies": state.accuracies,
        "genotypes": state.genotypes,
        "exploring": state.exploring,
        "last": state.last,
        "refused": [[kind, asdict(tried)] for kind, tried in sorted(state.refused, key=str)],
        "trial": trial
        and {
            "state": searching.snapshot(trial.state),
            "accuracies": trial.accuracies,
            "genotypes": trial.genotypes,
        },
        "events": [asdict(event) for event in state.events],
    }


def resumed(saved: dict[str, Any], context: SupernetContext) -> GrowthState:
    """Return the state of a snapshot."""
    events = read_events(saved["events"])
    trial = saved["trial"]
    return GrowthState(
        search=searching.resumed(saved["search"], context),
        accuracies=saved["accuracies"],
        genotypes=saved["genotypes"],
        exploring=saved["exploring"],
        last=saved["last"],
        refused=frozenset((kind, Size(**tried)) for kind, tried in saved["refused"]),
        trial=trial
        and Trial(
            event=events[-1],
            state=searching.resumed(trial["state"], context),
            accuracies=trial["accuracies"],
            genotypes=trial["genotypes"],
        ),
        events=events,
    )


def summarize(events: list[Event]) -> dict[str, float]:
    """Return the number of growths with each verdict, and the largest difference of logits."""
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
