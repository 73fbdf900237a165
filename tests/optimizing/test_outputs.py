"""A compiled network learns what the same network learns without compiling."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.optimizing import outputs
from tests.conftest import (
    identical,
    scramble,
    snapshot,
    tiny_blueprint,
    tiny_network,
    write_supernet,
)
from tests.phases import optimizing, train


def learnt(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return what a network has learnt with a second head, drop path and averaging."""
    phase = optimizing(checkpoint, auxiliary_weight=0.4, drop_path=0.2, ema_decay=0.9)
    state = phase.begin()
    train(phase, state)
    return snapshot(state.result)


def test_a_compiled_network_learns_the_same_and_twice_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tiny_blueprint(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3"))
    checkpoint = write_supernet(tmp_path / "one", scramble(tiny_network(small)))
    plain = learnt(checkpoint)
    counted = torch._dynamo.utils.counters
    counted.clear()
    monkeypatch.setenv("ASO_SE_COMPILE", "1")
    compiled, again = learnt(checkpoint), learnt(checkpoint)
    assert counted["stats"]["unique_graphs"] > 0
    assert identical(compiled, again)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4)


def test_where_torch_cannot_compile_it_is_said_in_a_line(tmp_path: Path) -> None:
    program = (
        "import torch\nfrom pipeline.optimizing.outputs import outputs_of\n"
        "outputs_of(torch.device('cpu'), divided=False)\n"
    )
    settings = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **settings, "ASO_SE_COMPILE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = "DeviceError: ASO_SE_COMPILE=1: torch cannot compile here; unset it: .*no-such-compiler"
    assert re.search(told, done.stderr.splitlines()[-1])


def test_the_parts_of_a_divided_batch_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_COMPILE", "1")
    assert outputs.outputs_of(torch.device("cpu"), divided=True) is outputs.outputs
