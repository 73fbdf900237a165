"""References that are networks, trained from scratch in the same way as in optimize."""

from collections.abc import Callable

from torch import nn

from pipeline.answering.measure import predict
from pipeline.batches.randomness import generator
from pipeline.harness.errors import TrainingFailedError
from pipeline.optimizing.optimize import Optimize
from pipeline.referencing.problem import Answer, Problem, Untried
from pipeline.referencing.random_architecture import of_size, random_genotype
from pipeline.referencing.resnet import build_resnet, width_of_size
from pipeline.space.network import build
from pipeline.training.loop import run


def resnet(problem: Problem, *, all_passes: bool = False) -> Answer | Untried:
    """Train a ResNet-20 with as many parameters as the found network."""
    channels, classes = problem.training.pixels.shape[1], problem.classes
    stem, count = problem.found.blueprint.stem_factor, parameters(problem.found)
    width = width_of_size(count, image_channels=channels, classes=classes, stem=stem)

    def fresh() -> tuple[nn.Module, int]:
        source = generator(problem.context.seed, "reference", "resnet")
        device = problem.training.device
        network = build_resnet(channels, width, classes, stem=stem, generator=source, device=device)
        return network, 0

    return _trained(fresh, "resnet", problem, all_passes=all_passes)


def random_architecture(problem: Problem, *, all_passes: bool = False) -> Answer | Untried:
    """Train a random architecture with the found network's cells and number of parameters."""

    def fresh() -> tuple[nn.Module, int]:
        source = generator(problem.context.seed, "reference", "random_architecture")
        genotype = random_genotype(problem.found.blueprint, problem.rules, source)
        blueprint = of_size(problem.found.blueprint, genotype, parameters(problem.found))
        device = problem.training.device
        return build(blueprint, genotype, generator=source, device=device), 0

    return _trained(fresh, "random_architecture", problem, all_passes=all_passes)


def parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _trained(
    fresh: Callable[[], tuple[nn.Module, int]], name: str, problem: Problem, *, all_passes: bool
) -> Answer | Untried:
    """Train and test what `fresh` builds; return Untried if its training fails."""
    count = problem.all_epochs if all_passes else problem.optimize.epochs
    phase = Optimize(
        context=problem.context,
        params=problem.optimize.model_copy(update={"epochs": count}),
        fresh=fresh,
        watch=problem.watch,
        taught=problem.taught,
    )
    try:
        state, history = run(phase, problem.points(f"{name}_all_passes" if all_passes else name))
    except TrainingFailedError as error:
        return Untried(f"not trained: {error}")
    result = state.delivered.eval()
    predicted = predict(result, problem.test).argmax(1).numpy()
    return Answer(predicted=predicted, parameters=parameters(result), epochs=len(history))
