"""The stage calibrates on validation images that the network was not trained on."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.answering.measure import predict
from pipeline.batches.images import read_images
from pipeline.deciding.decision import decide
from pipeline.harness.errors import CheckpointError
from pipeline.margins.margins import write_margins
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.network import discretize
from stages.derive import Params, main
from tests.conftest import scramble, tiny_network, write_noise

HELD_OUT, ALL = ["train"], ["train", "validation"]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")


def derive(folder: Path, facts: dict[str, Any], **seeds: int) -> dict[str, bytes]:
    """Run the stage; return its files by name."""
    write_noise(folder / "prepare", training=8, validation=40, **seeds)
    supernet = scramble(tiny_network())
    network = discretize(supernet, decide(torch.zeros(2, 5, 4), supernet.blueprint))
    trained = Checkpoint.of(network, facts={"stage": "optimize", "epoch": 3, **facts})
    write_checkpoint(folder / "optimize" / "checkpoint.safetensors", trained)
    learnt = {"train": torch.linspace(2, -1, 8), "validation": torch.linspace(2, -1, 40)}
    trained_on = {split: learnt[split] for split in facts.get("trained_on", ())}
    write_margins(folder / "optimize" / "margins.safetensors", trained_on)
    main(Params(), folder / "prepare", folder / "optimize", folder / "out")
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def metrics(files: dict[str, bytes]) -> Any:
    return json.loads(files["metrics.json"])


def test_equal_inputs_give_equal_files(tmp_path: Path) -> None:
    one, other = (derive(tmp_path / name, {"trained_on": HELD_OUT}) for name in "ab")
    assert one == other


def test_images_that_were_trained_on_calibrate_nothing(tmp_path: Path) -> None:
    found = derive(tmp_path / "a", {"trained_on": ALL}, validation_seed=1)
    assert not {"temperature", "unsure_below"} & metrics(found).keys()
    other = derive(tmp_path / "b", {"trained_on": ALL}, validation_seed=2)
    del found["suspects.csv"], other["suspects.csv"]
    assert found == other


def suspects(files: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(files["suspects.csv"].decode().splitlines()))


def test_the_worst_tenth_of_every_split_is_listed_as_likely_mislabelled(tmp_path: Path) -> None:
    found = suspects(derive(tmp_path, {"trained_on": HELD_OUT}))
    trained = read_checkpoint(tmp_path / "optimize" / "checkpoint.safetensors").network.eval()
    listed: dict[str, list[tuple[int, float]]] = {"train": [(7, -1.0)]}  # the lowest that is given
    for split in ("validation", "test"):
        images = read_images(tmp_path / "prepare", split, "cpu")
        scores = []
        for logits, label in zip(predict(trained, images).tolist(), images.labels, strict=True):
            others = [one for index, one in enumerate(logits) if index != label]
            scores.append(logits[int(label)] - max(others))
        order = sorted(range(len(scores)), key=scores.__getitem__)
        listed[split] = [(index, scores[index]) for index in order[: -(-len(scores) // 10)]]
    for split, expected in listed.items():
        rows = [row for row in found if row["split"] == split]
        assert [int(row["index"]) for row in rows] == [index for index, _ in expected]
        assert [float(row["score"]) for row in rows] == pytest.approx(
            [score for _, score in expected], rel=1e-4
        )
        labels = read_images(tmp_path / "prepare", split, "cpu").labels
        for row in rows:
            assert "abc".index(row["label"]) == labels[int(row["index"])]
            assert row["looks_like"] in set("abc") - {row["label"]}
    assert [row["split"] for row in found[:3]] == ["train", "validation", "test"]


def test_margins_of_other_images_are_refused(tmp_path: Path) -> None:
    derive(tmp_path, {"trained_on": HELD_OUT})
    path = tmp_path / "optimize" / "margins.safetensors"
    for other in ({"train": torch.zeros(9)}, {"train": torch.zeros(8), "test": torch.zeros(8)}):
        write_margins(path, other)
        with pytest.raises(CheckpointError, match="not of the images that were trained on"):
            main(Params(), tmp_path / "prepare", tmp_path / "optimize", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_temperature_depends_on_validation_images_and_not_on_test_images(
    tmp_path: Path,
) -> None:
    fitted = [
        (metrics(found)["temperature"], metrics(found)["unsure_below"])
        for found in (
            derive(tmp_path / str(seeds), {"trained_on": HELD_OUT}, **seeds)
            for seeds in ({"test_seed": 9}, {"test_seed": 10}, {"validation_seed": 2})
        )
    ]
    assert fitted[0] == fitted[1] != fitted[2]


def test_the_listed_probabilities_are_calibrated_and_the_classes_stay(tmp_path: Path) -> None:
    tables = [
        list(csv.DictReader(files["confusion.tsv"].decode().splitlines(), delimiter="\t"))
        for files in (
            derive(tmp_path / "a", {"trained_on": HELD_OUT}),
            derive(tmp_path / "b", {"trained_on": ALL}),
        )
    ]
    one, other = ([row["predicted"] for row in table] for table in tables)
    assert one == other
    one, other = ([row["probability"] for row in table] for table in tables)
    assert one != other


def test_the_model_carries_the_metrics(tmp_path: Path) -> None:
    found = derive(tmp_path, {"trained_on": HELD_OUT})
    model = read_checkpoint(tmp_path / "out" / "model.safetensors")
    assert model.fact("metrics") == metrics(found)


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no trained_on"):
        derive(tmp_path, {})
