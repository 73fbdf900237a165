"""The architectures that enter the finals of a search: the best by the supernet's loss."""

from collections.abc import Sequence
from functools import partial

from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.images import Images
from pipeline.batches.randomness import generator
from pipeline.console.progress import say
from pipeline.halving.bracket import CANDIDATES, COMPARED_IMAGES
from pipeline.harness.errors import TrainingFailedError
from pipeline.searching.candidates import draw_candidates, of_operations
from pipeline.searching.equivalence import normal_form
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network
from pipeline.space.relaxation import genotype_weights, without_disabled
from pipeline.supernet.evaluation import evaluate_paths
from pipeline.supernet.supernet import SupernetContext, choices
from pipeline.targeting.budget import Budget
from pipeline.training.checks import first_failure, is_of_operation
from pipeline.training.failing import Failure, OperationFailedError, disable, refusal


def entrants(
    context: SupernetContext, params: SearchParams, state: SearchState, budget: Budget
) -> list[Genotype]:
    """Return the architectures of the first round, the best by the supernet's loss first.

    There are `params.finalists` of them, or fewer if draws from the logits repeat. One is the
    well-known network of the space, if it has one that the budget allows and that runs nothing
    disabled.
    """
    candidates = draw_candidates(
        state.logits,
        state.network.blueprint,
        budget,
        count=CANDIDATES * params.finalists,
        generator=generator(context.seed, "finalists", "candidates"),
    )
    ranked = _ranked(context, state, candidates)
    known = reference(state.network.blueprint)
    if known is None or not params.finalists or not _may_enter(known, state, budget):
        return ranked[: params.finalists]
    others = [one for one in ranked if normal_form(one) != normal_form(known)]
    return [*others[: params.finalists - 1], known]


def _may_enter(genotype: Genotype, state: SearchState, budget: Budget) -> bool:
    """Whether the budget allows an architecture, and it runs nothing that is disabled."""
    return is_enabled(genotype, state) and budget.allows(state.network.blueprint, genotype)


def is_enabled(genotype: Genotype, state: SearchState) -> bool:
    """Whether an architecture runs nothing that is disabled."""
    path = genotype_weights(genotype, state.network.blueprint)
    return without_disabled(path, state.logits) == path


def leave_out(failure: Failure, state: SearchState, context: SupernetContext) -> None:
    """Disable an operation that failed, in the supernet, and say so.

    Raises:
        OperationFailedError: it must not be disabled.
    """
    left = choices(state, context)
    if refused := refusal(left, failure.place):
        raise OperationFailedError(f"finalists: {failure}; {refused}", failure)
    disable(left, [failure])
    say(f"finalists: {failure}; going on without it on this edge")


def _ranked(
    context: SupernetContext, state: SearchState, candidates: Sequence[Genotype]
) -> list[Genotype]:
    """Return the candidates, the best by the supernet's loss first.

    Those that run an operation that fails are left out, and it is disabled.

    Raises:
        OperationFailedError: none is left, or the operation must not be disabled.
        TrainingFailedError: a loss is not finite, and no operation is to blame.
    """
    losses: dict[tuple[str, ...], float] = {}
    for one in candidates:
        compute = partial(_loss, context, state.network, one)
        try:
            if is_enabled(one, state):
                losses[normal_form(one)] = compute()
        except Exception as error:
            if not isinstance(error, TrainingFailedError) and not is_of_operation(error):
                raise
            if not (found := first_failure(compute)):
                raise
            failure = Failure(epoch=1, place=found[0], what=found[1])
            leave_out(failure, state, context)
            last = OperationFailedError(f"finalists: {failure}; no other is left", failure)
    left = [one for one in candidates if normal_form(one) in losses and is_enabled(one, state)]
    if candidates and not left:
        raise last
    return sorted(left, key=lambda one: losses[normal_form(one)])


def _loss(context: SupernetContext, network: Network, genotype: Genotype) -> float:
    """Return the supernet's loss along one architecture, on batch statistics."""
    held_out = _some(context.validation, COMPARED_IMAGES)
    path = genotype_weights(genotype, network.blueprint)
    one_path = context.training.model_copy(update={"sampled_paths": 1})
    loss, _ = evaluate_paths(network, held_out, lambda _: path, one_path)
    return loss


def reference(blueprint: Blueprint) -> Genotype | None:
    """Return the well-known network of a space, if it has one and its operations are candidates."""
    known = blueprint.rules.reference
    kinds = [cell.kind for cell in blueprint.cells]
    return None if known is None else of_operations(known(kinds), blueprint)


def _some(images: Images, count: int) -> Images:
    """Return at most `count` images, evenly spaced."""
    every = -(-len(images) // count)
    return images.part(slice(None, None, every))
