"""References that are networks, trained from scratch as optimize trains the found one."""

from collections.abc import Callable

from torch import nn

from pipeline.batches.randomness import generator
from pipeline.deriving.measure import predict
from pipeline.harness.errors import TrainingFailedError
from pipeline.optimizing.optimize import OptimizeState, begin, epochs, resumed, snapshot
from pipeline.referencing.problem import Answer, Problem, Untried
from pipeline.referencing.random_architecture import of_size, random_genotype
from pipeline.referencing.resnet import build_resnet, width_of_size
from pipeline.space.network import build
from pipeline.training.loop import Phase, run
from pipeline.training.stability import Expected


def resnet(problem: Problem, *, all_passes: bool = False) -> Answer | Untried:
    """Train a ResNet-20 with as many parameters as the found network."""
    channels, classes = problem.training.pixels.shape[1], problem.classes
    width = width_of_size(parameters(problem.found), image_channels=channels, classes=classes)

    def fresh() -> nn.Module:
        source = generator(problem.seed, "reference", "resnet")
        device = problem.training.device
        return build_resnet(channels, width, classes, generator=source, device=device)

    return _trained(fresh, "resnet", problem, all_passes=all_passes)


def random_architecture(problem: Problem, *, all_passes: bool = False) -> Answer | Untried:
    """Train a random architecture with the found network's cells and number of parameters."""

    def fresh() -> nn.Module:
        source = generator(problem.seed, "reference", "random_architecture")
        genotype = random_genotype(problem.found.blueprint, source)
        blueprint = of_size(problem.found.blueprint, genotype, parameters(problem.found))
        return build(blueprint, genotype, generator=source, device=problem.training.device)

    return _trained(fresh, "random_architecture", problem, all_passes=all_passes)


def parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _trained(
    fresh: Callable[[], nn.Module], name: str, problem: Problem, *, all_passes: bool
) -> Answer | Untried:
    """Train what `fresh` builds and test it; a network that cannot be trained is no reference."""
    count = problem.all_epochs if all_passes else problem.optimize.epochs
    recipe = problem.optimize.model_copy(update={"epochs": count})

    def start() -> OptimizeState[nn.Module]:
        return begin(fresh(), recipe, problem.recipe, epoch=0, seed=problem.seed)

    phase: Phase[OptimizeState[nn.Module]] = Phase(
        begin=start,
        epochs=lambda state, slowdown: epochs(
            state,
            problem.training,
            None,
            params=recipe,
            training=problem.recipe,
            augmentation=problem.augmentation,
            seed=problem.seed,
            slowdown=slowdown,
        ),
        snapshot=snapshot,
        resumed=lambda saved: resumed(start(), saved),
    )
    images = len(problem.training)
    try:
        state, _ = run(
            phase,
            problem.points(f"{name}_all_passes" if all_passes else name),
            epochs=count,
            images=images,
            expected=Expected(classes=problem.classes, accuracy="train_accuracy", images=images),
            max_recoveries=problem.recipe.max_recoveries,
        )
    except TrainingFailedError as error:
        return Untried(f"not trained: {error}")
    result = state.result.eval()
    logits = predict(result, problem.test)
    return Answer(predicted=logits.argmax(1).numpy(), parameters=parameters(result), epochs=count)
