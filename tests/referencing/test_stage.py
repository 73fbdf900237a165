"""The whole stage: references are trained, tested, reported, resumed and skipped."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import get_model

from pipeline.batches.images import read_images
from pipeline.batches.params import AugmentationParams
from pipeline.comparison.references import References, read_references
from pipeline.deciding.decision import decide
from pipeline.exporting.onnx_file import export_onnx
from pipeline.harness.errors import DataError, ParamsError
from pipeline.harness.params_file import parse_params
from pipeline.optimizing.params import OptimizeParams
from pipeline.params import Params as AllParams
from pipeline.referencing import pixels
from pipeline.referencing.kinds import KINDS
from pipeline.referencing.params import PassesParams, ReferenceParams, SearchPassesParams
from pipeline.space.network import discretize
from pipeline.space.params import NetworkParams
from pipeline.training.context import Context, Epoch, Step
from pipeline.training.params import TrainingParams
from stages.reference import Params, main
from tests.breaking import Effect, backward, nan, refusing
from tests.conftest import tiny, tiny_blueprint, tiny_network
from tests.optimizing.test_distilling import FACTS

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("majority", "logistic_regression", "nearest_neighbour", "svc")
TRAINED = ("resnet", "resnet_all_passes", "random_architecture", "random_architecture_all_passes")


def reference(here: Path, *kinds: str, out: str = "reference", **changes: Any) -> References:
    params = Params(
        seed=changes.pop("seed", 1),
        augmentation=tiny(AugmentationParams),
        network=tiny(NetworkParams),
        training=tiny(TrainingParams, **changes.pop("training", {})),
        warmup=PassesParams(epochs=2),
        search=SearchPassesParams(
            epochs=2,
            arch_update_freq=3,
            arch_gradient="gate",
            arch_paths=1,
            finalists=0,
            finalist_epochs=1,
        ),
        growth=PassesParams(epochs=6),
        optimize=tiny(OptimizeParams, **changes.pop("optimize", {})),
        reference=ReferenceParams(kinds=kinds, backbone=changes.pop("backbone", None)),
    )
    finish = main(params, here / "prepare", here / "derive", here / out)
    if changes.pop("finish", True):
        finish()
    return read_references(here / out / "references.json")


def test_every_kind_is_known_and_each_is_tried_in_its_order(here: Path) -> None:
    assert KINDS.keys() == {*QUICK, *TRAINED, "frozen_features"}
    found = reference(here, *QUICK, *TRAINED)
    assert [one.name for one in found.compared] == [*QUICK, *TRAINED]
    for one in found.compared:
        assert 0 <= one.low <= one.test_accuracy <= one.high <= 1
        assert (one.parameters is not None) == (one.name in TRAINED)
    epochs = {one.name: one.epochs for one in found.compared}
    assert epochs["resnet"] == epochs["random_architecture"] == 2
    assert epochs["resnet_all_passes"] == epochs["random_architecture_all_passes"]
    assert (epochs["resnet_all_passes"] or 0) > 2
    metrics = json.loads((here / "reference" / "metrics.json").read_text())
    best = found.best
    assert best is not None
    assert metrics["best"] == best.name
    assert metrics["ahead_of_best"] == best.difference
    assert {name: metrics[name] for name in QUICK} == {
        one.name: one.test_accuracy for one in found.compared if one.name in QUICK
    }


def test_no_kinds_compare_with_nothing(here: Path) -> None:
    assert reference(here) == References()
    assert json.loads((here / "reference" / "metrics.json").read_text()) == {}


def test_equal_runs_write_equal_bytes_and_another_seed_another_network(here: Path) -> None:
    kinds = ("resnet", "random_architecture")
    for out in ("one", "other"):
        reference(here, *kinds, out=out)
    assert (here / "one/references.json").read_bytes() == (
        here / "other/references.json"
    ).read_bytes()
    assert not list(here.glob(".aso-se/resume/*"))


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("resnet", "random_architecture_all_passes")
    reference(here, *kinds, out="whole")
    reference(here, *kinds, out="first", finish=False)
    points = sorted(here.glob(".aso-se/resume/reference-random*/*.safetensors"))
    assert len(points) == 2
    points[-1].unlink()  # as if it had been killed in its last epoch
    trained: list[object] = []
    real = Context.steps

    def noted(self: Context, epoch: Epoch) -> Iterator[Step]:
        trained.append((epoch.phase, epoch.number))
        yield from real(self, epoch)

    monkeypatch.setattr(Context, "steps", noted)
    reference(here, *kinds, out="resumed")
    assert len(trained) == 1
    assert (here / "resumed/references.json").read_bytes() == (
        here / "whole/references.json"
    ).read_bytes()
    assert not list(here.glob(".aso-se/resume/*"))


def test_references_have_the_patience_of_optimize(here: Path) -> None:
    kinds = ("resnet", "random_architecture")
    optimize = {"epochs": 20, "patience": 2}
    found = reference(here, *kinds, optimize=optimize)
    assert all(2 < (one.epochs or 0) < 20 for one in found.compared)
    assert reference(here, *kinds, out="again", optimize=optimize) == found


def test_what_is_too_large_is_skipped_with_a_word(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MOST_VALUES", 10)
    monkeypatch.setattr(pixels, "MOST_PRODUCTS", 10)
    found = reference(here, *QUICK)
    assert [one.name for one in found.compared] == ["majority"]
    assert [one.title for one in found.skipped] == [KINDS[name].title for name in QUICK[1:]]
    assert all(one.reason.startswith("skipped: ") for one in found.skipped)


def test_a_reference_that_cannot_be_trained_does_not_end_the_run(here: Path) -> None:
    found = reference(
        here,
        "resnet",
        "majority",
        optimize={"learning_rate": 10.0, "learning_rate_end": 10.0, "epochs": 9},
        training={"gradient_clip": 1e6, "max_recoveries": 0},
    )
    assert [one.name for one in found.compared] == ["majority"]
    [one] = found.skipped
    assert one.title == KINDS["resnet"].title
    assert one.reason.startswith("not trained: reference-resnet: epoch ")


@pytest.mark.parametrize(("effect", "what"), [(nan, "made NaN of"), (refusing, "ValueError in ")])
def test_a_random_architecture_whose_operation_fails_is_not_trained_and_names_it(
    effect: Effect, what: str, here: Path, breaks: Callable[..., None]
) -> None:
    names = ("avg_pool_3x3", "skip_connect", "sep_conv_3x3")
    breaks(*((2, edge, name, backward(effect)) for edge in range(5) for name in names))
    found = reference(here, "random_architecture", "majority")
    assert [one.name for one in found.compared] == ["majority"]
    [one] = found.skipped
    named = "not trained: reference-random_architecture: epoch 1: cell 2 (reduction), edge from "
    assert one.reason.startswith(named)
    assert what in one.reason


def test_the_majority_is_that_of_the_images_that_optimize_trained_on(here: Path) -> None:
    training, validation, test = (
        read_images(here / "prepare", split, "cpu").labels
        for split in ("train", "validation", "test")
    )
    for use_validation, labels in ((False, training), (True, torch.cat([training, validation]))):
        used = {"use_validation": use_validation}
        [one] = reference(here, "majority", optimize=used).compared
        most = int(labels.bincount().argmax())
        assert one.test_accuracy == float((test == most).double().mean())


def test_frozen_features_come_from_a_file_and_nothing_is_downloaded(here: Path) -> None:
    name = "squeezenet1_1"
    torch.manual_seed(0)
    torch.save(get_model(name, weights=None).state_dict(), here / "weights.pth")
    [one] = reference(here, "frozen_features", backbone=f"{name}:{here / 'weights.pth'}").compared
    assert one.parameters == sum(p.numel() for p in get_model(name, weights=None).parameters())
    for backbone, reason in (
        (f"{name}:{here / 'missing.pth'}", "no such file; nothing is downloaded"),
        (f"shufflenet_v2_x0_5:{here / 'weights.pth'}", "not the weights of shufflenet_v2_x0_5"),
        (f"{name}:{here / 'prepare' / 'dataset.json'}", f"not the weights of {name}"),
        ("resnet17", "torchvision has no resnet17"),
    ):
        with pytest.raises(DataError, match=reason) as refused:
            reference(here, "frozen_features", backbone=backbone)
        assert str(refused.value).startswith(f"reference.backbone: {backbone}: ")
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("frozen_features", "backbone: frozen_features needs"),
        ("svc", r"reference\.kinds: each may appear only once"),
    ],
)
def test_frozen_features_need_a_backbone_and_no_kind_appears_twice(first: str, reason: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert "- majority\n" in text
    changed = text.replace("- majority\n", f"- {first}\n")
    with pytest.raises(ParamsError, match=reason):
        parse_params(AllParams, changed, "params.yaml", whole=True)


def test_trained_references_have_the_teacher_of_the_found_network(here: Path) -> None:
    network = discretize(tiny_network(), decide(torch.zeros(2, 5, 4), tiny_blueprint())).eval()
    teacher = here / "teacher.onnx"
    reference(here, "resnet", finish=False)
    for mean in (0.2, 0.8):
        teacher.write_bytes(export_onnx(network, replace(FACTS, mean=(mean, mean, mean))))
        reference(here, "resnet", finish=False, optimize={"teacher": str(teacher)})
    points = list(here.glob(".aso-se/resume/reference-resnet-*/00002.safetensors"))
    assert len({point.read_bytes() for point in points}) == 3
