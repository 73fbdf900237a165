"""An operation that fails is named and taken out of the search; the run goes on without it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.growing.params import GrowthParams
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.lacks import ending
from pipeline.optimizing.params import OptimizeParams
from pipeline.space import depthwise
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.network import Network
from pipeline.space.params import GenotypeParams, NetworkParams
from pipeline.space.registry import SPACES
from pipeline.space.relaxation import disabled
from pipeline.targeting.params import TargetParams
from pipeline.training.loop import run
from pipeline.training.params import StatisticsParams, TrainingParams
from pipeline.training.resume import Points
from pipeline.warming.params import WarmupParams
from stages import growth, optimize, search, warmup
from tests.breaking import (
    Broken,
    Effect,
    backward,
    infinite,
    lacking,
    nan,
    refusing,
)
from tests.conftest import (
    context,
    of_space,
    random_logits,
    tiny,
    tiny_blueprint,
    tiny_network,
    write_noise,
)
from tests.phases import growing, searching, warming
from tests.test_resume import here, require_resumable  # noqa: F401 - a fixture of every test here

OPERATIONS = {"darts": "avg_pool_3x3", "nasbench201": "nor_conv_1x1", "residual": "basic_3x3"}
OTHERS = {"darts": "sep_conv_3x3", "nasbench201": "nor_conv_3x3", "residual": "mb3_conv_3x3"}


def both(space: str) -> tuple[Broken, Broken]:
    """NaN in one operation of the first cell, an error in one of the last."""
    return (0, 0, OPERATIONS[space], nan), (2, 0, OTHERS[space], refusing)


def gone(logits: Tensor) -> list[list[int]]:
    return disabled(logits).nonzero().tolist()


def open_supernet(folder: Path, **network: Any) -> Path:
    """Write a supernet whose edges draw all operations alike."""
    made = tiny_network(tiny_blueprint(**network))
    logits = torch.zeros_like(random_logits(made.blueprint))
    facts = {"stage": "growth", "epoch": 5, "temperature": 0.5}
    path = folder / "checkpoint.safetensors"
    write_checkpoint(path, Checkpoint.of(made, logits=logits, facts=facts))
    return path


SLOWLY: dict[str, Any] = {"arch_learning_rate": 1e-3, "explore": 1.0}
"""Search that stays open."""


def phase_of(name: str, space: str, folder: Path) -> Any:
    path, given = open_supernet(folder, **of_space(space)), context(48)
    network = tiny(NetworkParams, **of_space(space))
    slowly = tiny(SearchParams, **SLOWLY)
    return {
        "warmup": lambda: warming(given, network=network, epochs=4),
        "search": lambda: searching(path, given, epochs=4, **SLOWLY),
        "growth": lambda: growing(path, given, network=network, search=slowly, explore=0.5),
    }[name]()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["warmup", "search", "growth"])
def test_a_run_goes_on_without_what_fails_and_resumes_to_the_same_bytes(
    name: str, space: str, breaks: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    breaks(*both(space))
    named = require_masked(name, space, request)
    assert f"source 0 to node 0, {OPERATIONS[space]}: made NaN of finite inputs" in named
    assert f"source 0 to node 0, {OTHERS[space]}: ValueError: no such kernel" in named
    assert "cell 0 (normal), edge from" in named


@pytest.mark.parametrize(
    ("name", "space"), [("warmup", "residual"), ("search", "darts"), ("growth", "nasbench201")]
)
def test_so_it_does_without_what_fails_in_the_backward_pass(
    name: str, space: str, breaks: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    breaks(*((*where, backward(effect)) for *where, effect in both(space)))
    named = require_masked(name, space, request)
    assert f"{OPERATIONS[space]}: made NaN of finite gradients" in named
    assert f"{OTHERS[space]}: ValueError in the backward pass: no such kernel" in named


def require_masked(name: str, space: str, request: pytest.FixtureRequest) -> str:
    """Run a phase in which `both` fail, and resume it; return what its history says of them."""
    monkeypatch, capsys, tmp_path = map(
        request.getfixturevalue, ("monkeypatch", "capsys", "tmp_path")
    )
    phase = phase_of(name, space, tmp_path)
    state, rows = require_resumable(phase, tmp_path / "points", monkeypatch)
    found = getattr(state, "search", state)
    plan = found.network.blueprint
    places = [
        [plan.cells[cell].architecture, edge, plan.operations.index(operation)]
        for cell, edge, operation, _ in both(space)
    ]
    assert gone(found.logits) == sorted(places)
    assert {row["recoveries"] for row in rows} == {0}
    named = "; ".join(str(row["disabled"]) for row in rows if "disabled" in row)
    said = capsys.readouterr().out
    for one in named.split("; "):
        assert f"{one}; going on without it" in said
    return named


@pytest.mark.parametrize("changes", [
    {"sampling": "soft", "explore": 0.0},
    {"arch_gradient": "straight_through"},
    {"arch_gradient": "reinmax"},
    {"arch_gradient": "score", "arch_paths": 2},
    {"sampling": "likely", "stop_operations": 0.0},
    {"sharpen": 1.0, "beta_decay": 1.0},
])  # fmt: skip
def test_so_it_does_however_the_architecture_learns(
    changes: dict[str, Any],
    checkpoint: Path,
    breaks: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaks((0, 1, "sep_conv_3x3", infinite), (1, 0, "avg_pool_3x3", refusing))
    phase = searching(checkpoint, **{"epochs": 3, "explore": 1.0, **changes})
    state, _ = require_resumable(phase, tmp_path / "points", monkeypatch)
    assert gone(state.logits) == [[0, 1, 3], [1, 0, 1]]
    assert not state.logits.isnan().any()


@pytest.mark.parametrize("changes", [
    {"arch_gradient": "reinmax"},
    {"sampling": "soft", "explore": 0.0},
    {"arch_gradient": "score", "arch_paths": 2},
    {"stop_operations": 0.0},
])  # fmt: skip
def test_so_it_does_in_the_backward_pass(
    changes: dict[str, Any], checkpoint: Path, breaks: Callable[..., None], tmp_path: Path
) -> None:
    breaks((0, 1, "sep_conv_3x3", backward(refusing)), (1, 0, "avg_pool_3x3", backward(infinite)))
    phase = searching(checkpoint, **{"epochs": 3, "explore": 1.0, **changes})
    state, rows = run(phase, Points("search", tmp_path / "points"))
    assert gone(state.logits) == [[0, 1, 3], [1, 0, 1]]
    assert any("of finite gradients" in str(row.get("disabled")) for row in rows)
    assert not any(one.isnan().any() for one in state.network.state_dict().values())


def test_a_kernel_that_makes_nan_of_the_gradient_of_its_weights_alone_is_found(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[Network] = []
    create, of_weight = Network.__init__, depthwise._of_weight

    def noted(network: Network, *arguments: Any) -> None:
        create(network, *arguments)
        networks.append(network)

    def spoilt(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        found = of_weight(gradient, x, weight, stride)
        edges = [network.cells[0].edges[1] for network in networks]
        kernels = [edge.operations["sep_conv_3x3"][1].weight for edge in edges]
        return nan(found) if weight.data_ptr() in [one.data_ptr() for one in kernels] else found

    phase = searching(checkpoint, epochs=3, explore=1.0)
    monkeypatch.setattr(Network, "__init__", noted)
    monkeypatch.setattr(depthwise, "_of_weight", spoilt)
    state, _ = run(phase, Points("search", tmp_path / "points"))
    assert gone(state.logits) == [[0, 1, 3]]


@pytest.mark.parametrize("most", [0, 1])
def test_more_failures_than_allowed_end_the_run_with_a_line_that_names_the_operation(
    most: int, breaks: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    breaks((0, 1, "sep_conv_3x3", nan), (2, 0, "avg_pool_3x3", nan))
    phase = searching(checkpoint, context(max_disabled=most), epochs=3, explore=1.0)
    with pytest.raises(TrainingFailedError) as caught:
        run(phase, Points("search", tmp_path / "points"))
    line, code = ending(caught.value) or ("", 0)
    assert code == 3
    assert line.startswith("search: epoch 1: cell ")
    assert "made NaN of finite inputs" in line
    assert line.endswith(f"training.max_disabled is {most}; raise it, or change network.operations")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("operation", "operations", "reason"),
    [
        ("skip_connect", ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"), "never disabl"),
        ("sep_conv_3x3", ("none", "skip_connect", "sep_conv_3x3"), "no other operation but skip"),
    ],
)
@pytest.mark.parametrize("effect", [nan, refusing, backward(nan), backward(refusing)])
def test_what_every_edge_needs_is_not_disabled(
    operation: str,
    operations: tuple[str, ...],
    reason: str,
    effect: Effect,
    request: pytest.FixtureRequest,
) -> None:
    breaks, tmp_path = map(request.getfixturevalue, ("breaks", "tmp_path"))
    breaks((0, 1, operation, effect))
    phase = warming(network=tiny(NetworkParams, operations=operations))
    with pytest.raises(TrainingFailedError, match=rf"^warmup: .*{operation}: .*{reason}"):
        run(phase, Points("warmup", tmp_path / "points"))


@pytest.mark.parametrize("effect", [lacking, backward(lacking)])
def test_a_lack_of_memory_is_no_failure_of_an_operation(
    effect: Effect, breaks: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    breaks((0, 1, "sep_conv_3x3", effect))
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        run(searching(checkpoint, explore=1.0), Points("search", tmp_path / "points"))
    assert (ending(caught.value) or ("", 0))[1] == 4


@pytest.mark.parametrize("of", [lambda effect: effect, backward])
def test_an_error_that_does_not_come_again_is_shown_as_it_is(
    of: Callable[[Effect], Effect], breaks: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def once(x: Tensor) -> Tensor:
        told.append("")
        if len(told) == 1:
            raise ValueError("a bug of ours")
        return x

    breaks((0, 1, "sep_conv_3x3", of(once)))
    with pytest.raises(ValueError, match="a bug of ours"):
        run(searching(checkpoint, explore=1.0), Points("search", tmp_path / "points"))


def test_an_error_that_no_operation_raised_is_shown_at_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Tensor:
        calls.append("")
        raise ValueError("a bug of ours")

    calls: list[str] = []
    monkeypatch.setattr(Network, "classify", refuse)
    with pytest.raises(ValueError, match="a bug of ours"):
        run(searching(checkpoint), Points("search", tmp_path / "points"))
    assert len(calls) == 1


@pytest.mark.parametrize("part", ["stem", "head"])
def test_so_is_one_in_the_backward_pass_of_what_is_no_operation(
    part: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, refuse = Network.__init__, backward(refusing)

    def spoilt(network: Network, *arguments: Any) -> None:
        create(network, *arguments)
        getattr(network, part).register_forward_hook(lambda _, __, output: refuse(output))

    monkeypatch.setattr(Network, "__init__", spoilt)
    with pytest.raises(ValueError, match="no such kernel"):
        run(searching(checkpoint, explore=1.0), Points("search", tmp_path / "points"))


def test_a_growth_that_is_rolled_back_does_not_bring_back_what_failed(
    breaks: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(x: Tensor) -> Tensor:
        return nan(x) if x.shape[1] == 6 and x.dtype == torch.float32 else x

    monkeypatch.setattr("pipeline.growing.grow.hurts", lambda *_, **__: True)
    slowly = tiny(SearchParams, **SLOWLY)
    phase = growing(open_supernet(tmp_path), context(48), kinds=("widen",), settle=2, search=slowly)
    breaks((0, 1, "sep_conv_3x3", wide))
    state, rows = require_resumable(phase, tmp_path / "points", monkeypatch)
    assert [event.verdict for event in state.events] == ["rolled back"]
    assert state.search.network.blueprint.cells[0].channels == 4
    assert any("disabled" in row for row in rows)
    assert gone(state.search.logits) == [[0, 1, 3]]


def stage(name: str, folder: Path, most: int = 2) -> None:
    """Run a stage of a tiny pipeline."""
    seed, augmentation = 1, tiny(AugmentationParams)
    training, network = tiny(TrainingParams, max_disabled=most), tiny(NetworkParams)
    searched, target = tiny(SearchParams, explore=1.0), TargetParams()
    prepare, out = folder / "prepare", folder / name
    same: Any = {"seed": seed, "augmentation": augmentation, "training": training}
    if name == "warmup":
        params: Any = warmup.Params(**same, network=network, warmup=tiny(WarmupParams, epochs=6))
        warmup.main(params, prepare, out)()
    elif name == "search":
        params = search.Params(**same, target=target, search=searched)
        search.main(params, prepare, folder / "warmup", out)()
    elif name == "growth":
        grown = tiny(GrowthParams, kinds=("mutate", "node"), explore=0.9)
        params = growth.Params(
            **same, network=network, target=target, search=searched, growth=grown
        )
        growth.main(params, prepare, folder / "search", out)()
    else:
        rules = GenotypeParams(edges_per_node=2, max_skips=None)
        weights = {one: getattr(training, one) for one in StatisticsParams.model_fields}
        same["training"] = StatisticsParams(**weights)
        params = optimize.Params(**same, network=rules, optimize=tiny(OptimizeParams))
        optimize.main(params, prepare, folder / "growth", out)()


def test_all_later_stages_know_what_failed_in_warmup(
    breaks: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    write_noise(tmp_path / "prepare", training=16, validation=8)
    breaks((0, 1, "sep_conv_3x3", nan), (2, 0, "avg_pool_3x3", refusing))
    for name in ("warmup", "search", "growth", "optimize"):
        stage(name, tmp_path)
        history = (tmp_path / name / "history.tsv").read_text()
        assert ("sep_conv_3x3: made NaN of finite inputs" in history) == (name == "warmup")
        if name != "optimize":
            logits = read_checkpoint(tmp_path / name / "checkpoint.safetensors").searched()
            assert gone(logits) == [[0, 1, 3], [1, 0, 1]]
    genotype = read_checkpoint(tmp_path / "optimize" / "checkpoint.safetensors").decided()
    normal, reduction = genotype.architectures
    assert (1, "sep_conv_3x3") not in [(one.source, one.operation) for one in normal.nodes[0]]
    assert (0, "avg_pool_3x3") not in [(one.source, one.operation) for one in reduction.nodes[0]]


def test_a_third_failure_in_a_later_stage_counts_those_before(
    breaks: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    write_noise(tmp_path / "prepare", training=16, validation=8)
    breaks((0, 1, "sep_conv_3x3", nan))
    stage("warmup", tmp_path, most=1)
    breaks((2, 0, "avg_pool_3x3", refusing))
    with pytest.raises(TrainingFailedError, match=r"avg_pool.*no such kernel; training\.max_disab"):
        stage("search", tmp_path, most=1)


def test_weights_that_diverge_everywhere_are_no_failure_of_an_operation(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Network.trunk

    def diverged(network: Network, images: Tensor, *rest: Any) -> Any:
        return original(network, images * float("nan"), *rest)

    monkeypatch.setattr(Network, "trunk", diverged)
    given = context(max_recoveries=1)
    with pytest.raises(TrainingFailedError, match=r"the .* is nan, at 0.5 times the learning"):
        run(
            replace(searching(checkpoint, explore=1.0), context=given),
            Points("search", tmp_path / "points"),
        )
    torch.manual_seed(0)
