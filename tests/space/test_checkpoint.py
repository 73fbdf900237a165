"""A checkpoint is read back bit for bit, or refused by one line that names the file."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.growing.blueprints import deepen, position, widen
from pipeline.growing.morph import grow
from pipeline.harness.errors import CheckpointError
from pipeline.space.blueprint import Blueprint, CellPlan
from pipeline.space.checkpoint import (
    FORMAT,
    Checkpoint,
    decode,
    encode,
    read_checkpoint,
    write_checkpoint,
)
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, build, discretize
from pipeline.space.relaxation import skip_only
from tests.conftest import (
    blueprints_with_genotypes,
    costly,
    identical,
    scramble,
    snapshot,
    tiny_network,
)

FACTS: dict[str, Any] = {"epoch": 7, "temperature": 0.1 + 0.2, "stage": "Größe\n\"'\\"}


def round_trip(path: Path, checkpoint: Checkpoint) -> Checkpoint:
    write_checkpoint(path, checkpoint)
    return read_checkpoint(path)


def refused(path: Path) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(path)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"{path}: ")
    return line


@pytest.fixture(scope="module")
def small() -> bytes:
    """A whole checkpoint in a few kB."""
    plans = (CellPlan(kind="normal", architecture=0, channels=4),)
    blueprint = Blueprint(
        image_channels=1,
        classes=2,
        nodes=1,
        operations=("none", "skip_connect"),
        stem_channels=4,
        cells=plans,
    )
    network = build(blueprint, generator=generator(0, "small"))
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors["logits"] = torch.zeros(1, 2, 2)
    facts = {"blueprint": blueprint.to_dict(), "genotype": None, "facts": {"epoch": 1}}
    return encode(tensors, facts)


@costly
@given(pair=blueprints_with_genotypes(), seed=st.integers(0, 99))
def test_a_supernet_and_its_discrete_network_are_read_back_bit_for_bit(
    pair: tuple[Blueprint, Genotype], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blueprint, genotype = pair
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    supernet = scramble(tiny_network(blueprint), seed)
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits = torch.randn(shape, generator=generator(seed, "logits"))
    found = round_trip(path, Checkpoint.of(supernet, logits=logits, facts=FACTS))
    assert found.network.blueprint == blueprint
    assert found.network.genotype is None
    assert identical(snapshot(found.network), snapshot(supernet))
    assert found.logits is not None
    assert torch.equal(found.logits, logits)
    assert found.facts == FACTS
    discrete = discretize(supernet, genotype)
    found = round_trip(path, Checkpoint.of(discrete))
    assert (found.network.genotype, found.logits, found.facts) == (genotype, None, {})
    assert identical(snapshot(found.network), snapshot(discrete))


def test_a_grown_network_rebuilds_itself(tmp_path: Path) -> None:
    network = tiny_network()
    blueprint = network.blueprint
    source = generator(0, "growth")
    network = grow(network, deepen(blueprint), added=position(blueprint), generator=source)
    network = grow(network, widen(network.blueprint, 1.5), added=None, generator=source)
    scramble(network)
    found = round_trip(tmp_path / "grown", Checkpoint.of(network)).network
    assert found.blueprint == network.blueprint
    images, path = torch.randn(2, 3, 8, 8), skip_only(network.blueprint)
    assert torch.equal(found.eval()(images, path), network.eval()(images, path))


def test_equal_checkpoints_give_equal_bytes_whatever_the_name_of_the_file(tmp_path: Path) -> None:
    for name in ("one", "other"):
        checkpoint = Checkpoint.of(tiny_network(), logits=torch.ones(2, 5, 4), facts=FACTS)
        write_checkpoint(tmp_path / name, checkpoint)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    write_checkpoint(tmp_path / "again", read_checkpoint(tmp_path / "one"))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "one").read_bytes()


def test_reading_and_writing_do_not_touch_the_global_generator(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    round_trip(tmp_path / "file", Checkpoint.of(tiny_network()))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_single_flipped_bit_anywhere_is_refused(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(small)
    decode(path)
    source = generator(0, "flips")
    anywhere = torch.randint(8 * len(small), (250,), generator=source).tolist()
    header = torch.randint(8 * 600, (100,), generator=source).tolist()
    for position_of_bit in {*anywhere, *header, *range(64)}:
        damaged = bytearray(small)
        damaged[position_of_bit // 8] ^= 1 << position_of_bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="checkpoint\\.safetensors: ") as refusal:
            decode(path)
        assert len(str(refusal.value).splitlines()) == 1


@given(cut=st.integers(0, 10_000))
def test_a_file_that_was_cut_short_or_goes_on_is_refused(
    small: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "checkpoint.safetensors"
    path.write_bytes(small[: cut % len(small)])
    refused(path)
    path.write_bytes(small + b"\0" * (1 + cut % 9))
    refused(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "none")
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        pickle.dumps({"epoch": 7}),
        safetensors.torch.save({"weight": torch.zeros(3)}),
        safetensors.torch.save({"weight": torch.zeros(3)}, {"aso-se": "[]"}),
        safetensors.torch.save({"weight": torch.zeros(3)}, {"aso-se": '{"format": 1}'}),
        safetensors.torch.save({"weight": torch.zeros(3)}, {"aso-se": "[" * 100_000}),
        safetensors.torch.save(
            {"weight": torch.zeros(3)}, {"aso-se": '{"format": 1, "sha256": "\\ud800"}'}
        ),
        (8).to_bytes(8, "little") + b"{}      ",
        (2**60).to_bytes(8, "little") + b"{}",
    ],
    ids=["empty", "noise", "pickle", "foreign", "list", "short", "deep", "odd", "bare", "huge"],
)
def test_a_foreign_file_is_refused_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    assert "'dvc repro'" in refused(path)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (trace,)  # type: ignore[return-value]

    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(pickle.dumps(Hostile()))
    refused(path)
    assert not trace.exists()


def test_another_format_is_refused_by_its_number(small: bytes, tmp_path: Path) -> None:
    tensors, facts = decode_bytes(small, tmp_path)
    path = tmp_path / "newer"
    path.write_bytes(encode(tensors, {**facts, "format": FORMAT + 1}))
    assert f"format {FORMAT + 1}, this version reads {FORMAT}" in refused(path)


def decode_bytes(content: bytes, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    path = folder / "whole"
    path.write_bytes(content)
    return decode(path)


HOSTILE: dict[str, dict[str, Any]] = {
    "no blueprint": {"blueprint": None},
    "an unknown field": {"blueprint": {"colour": "red"}},
    "an unknown operation": {"blueprint": {"operations": ["none", "skip_connect", "rm"]}},
    "other channels": {"blueprint": {"stem_channels": 6}},
    "an odd number of channels": {"blueprint": {"stem_channels": 5}},
    "text for a number": {"blueprint": {"nodes": "two"}},
    "a foreign genotype": {"genotype": {"schema": 1, "architectures": []}},
    "an architecture that is not there": {
        "blueprint": {
            "cells": [{"kind": "normal", "architecture": -7, "channels": 4, "grown": False}]
        },
        "genotype": {"schema": 1, "architectures": []},
    },
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_whole_file_whose_facts_make_no_network_is_refused(
    kind: str, small: bytes, tmp_path: Path
) -> None:
    tensors, facts = decode_bytes(small, tmp_path)
    changes = HOSTILE[kind]
    blueprint = changes.get("blueprint", {})
    facts["blueprint"] = blueprint and {**facts["blueprint"], **blueprint}
    facts["genotype"] = changes.get("genotype")
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(encode(tensors, facts))
    assert "'dvc repro'" in refused(path)


@pytest.mark.parametrize("name", ["network.head.weight", "network.stem.0.weight"])
def test_a_whole_file_that_lacks_a_tensor_or_has_one_of_another_shape_is_refused(
    name: str, small: bytes, tmp_path: Path
) -> None:
    tensors, facts = decode_bytes(small, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    del tensors[name]
    path.write_bytes(encode(tensors, facts))
    refused(path)
    path.write_bytes(encode({**tensors, name: torch.zeros(1, 1)}, facts))
    refused(path)


def test_a_whole_file_with_more_tensors_than_its_network_has_is_refused(
    small: bytes, tmp_path: Path
) -> None:
    tensors, facts = decode_bytes(small, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(encode({**tensors, "network.cells.1.gate": torch.zeros(())}, facts))
    refused(path)


def test_logits_of_another_shape_are_refused(small: bytes, tmp_path: Path) -> None:
    tensors, facts = decode_bytes(small, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(encode({**tensors, "logits": torch.zeros(1, 2, 3)}, facts))
    assert "logits" in refused(path)


def test_the_facts_are_json_in_a_single_metadata_key(small: bytes) -> None:
    length = int.from_bytes(small[:8], "little")
    metadata = json.loads(small[8 : 8 + length])["__metadata__"]
    assert list(metadata) == ["aso-se"]
    assert len(json.loads(metadata["aso-se"])["sha256"]) == 64


def test_a_network_on_any_layout_writes_the_same_bytes(tmp_path: Path) -> None:
    networks: list[Network] = [tiny_network(), tiny_network()]
    networks[1].to(memory_format=torch.contiguous_format)
    for number, network in enumerate(networks):
        write_checkpoint(tmp_path / str(number), replace(Checkpoint.of(network)))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_networks_are_built_and_read_without_what_takes_long_to_import(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from pipeline.space.checkpoint import read_checkpoint
from tests.conftest import write_supernet
read_checkpoint(write_supernet(Path(sys.argv[1])))
assert "sympy" not in sys.modules
"""
    command = [sys.executable, "-c", code, str(tmp_path / "checkpoint.safetensors")]
    subprocess.run(command, check=True)
