"""The stage trains on validation images only if params say so."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.batches.images import read_images
from pipeline.batches.params import AugmentationParams
from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import parse_params
from pipeline.margins.margins import read_margins
from pipeline.optimizing.params import OptimizeParams
from pipeline.params import Params as AllParams
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.training.evaluation import evaluate
from pipeline.training.params import TrainingParams
from stages.optimize import Params, main
from tests.conftest import tiny, tiny_network, write_noise

PARAMS = (Path(__file__).resolve().parents[2] / "params.yaml").read_text()


def optimize(
    folder: Path, *, use_validation: bool = False, validation_seed: int = 1, **changes: object
) -> tuple[bytes, Path]:
    """Run the stage; return its checkpoint and its metrics."""
    write_noise(folder / "prepare", training=16, validation=8, validation_seed=validation_seed)
    grown = Checkpoint.of(
        tiny_network(),
        logits=torch.zeros(2, 5, 4),
        facts={"stage": "growth", "epoch": 3},
    )
    write_checkpoint(folder / "growth" / "checkpoint.safetensors", grown)
    params = Params(
        seed=1,
        augmentation=tiny(AugmentationParams),
        network=tiny(NetworkParams),
        training=tiny(TrainingParams),
        optimize=tiny(OptimizeParams, use_validation=use_validation, **changes),
    )
    main(params, folder / "prepare", folder / "growth", folder / "out")
    out = folder / "out"
    return (out / "checkpoint.safetensors").read_bytes(), out / "metrics.json"


@pytest.mark.parametrize("use_validation", [True, False])
def test_validation_images_shape_the_result_only_if_they_are_to_be_trained_on(
    use_validation: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    one, other = (
        optimize(tmp_path / str(seed), use_validation=use_validation, validation_seed=seed)
        for seed in (1, 2)
    )
    assert (one[0] != other[0]) == use_validation
    metrics = json.loads(one[1].read_text())
    assert ("validation_accuracy" not in metrics) == use_validation
    trained = read_checkpoint(tmp_path / "1" / "out" / "checkpoint.safetensors")
    assert ("validation" in trained.fact("trained_on")) == use_validation
    sizes = {"train": 16, "validation": 8} if use_validation else {"train": 16}
    found = read_margins(tmp_path / "1" / "out" / "margins.safetensors", sizes)
    assert len(torch.cat(list(found.values())).unique()) > 8


def test_with_patience_the_checkpoint_and_the_metrics_are_those_of_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    _, metrics = optimize(tmp_path, epochs=12, patience=3)
    history = (tmp_path / "out" / "history.tsv").read_text().splitlines()
    names, *rows = (line.split("\t") for line in history)
    accuracies = [float(row[names.index("validation_accuracy")]) for row in rows]
    best = accuracies.index(max(accuracies))
    assert len(rows) == best + 1 + 3 < 12
    assert json.loads(metrics.read_text())["validation_accuracy"] == pytest.approx(max(accuracies))
    trained = read_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    assert trained.fact("epoch") == int(rows[best][names.index("epoch")])
    assert f"; the best epoch, {trained.fact('epoch')}, is kept: " in capsys.readouterr().out
    held_out = read_images(tmp_path / "prepare", "validation", "cpu")
    loss, accuracy = evaluate(trained.network, held_out, 16)
    assert accuracy == max(accuracies)
    assert loss == pytest.approx(float(rows[best][names.index("validation_loss")]), rel=1e-5)


def test_patience_without_held_out_images_is_refused_in_one_line() -> None:
    tiny(OptimizeParams, patience=1)
    with pytest.raises(ParamsError, match=r"^params\.yaml: optimize\.patience: 1 epochs, but no "):
        parse_params(
            AllParams,
            PARAMS.replace("patience: 0  ", "patience: 1  "),
            "params.yaml",
            whole=True,
        )
