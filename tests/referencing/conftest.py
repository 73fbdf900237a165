"""The results of the stages before the references."""

from pathlib import Path

import pytest
import torch

from pipeline.deciding.decision import decide
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.network import discretize
from tests.conftest import measures, tiny_network, write_noise


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the results of the stages before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    monkeypatch.delenv("ASO_SE_RESUME", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_noise(tmp_path / "prepare", training=16, validation=8)
    supernet = tiny_network()
    network = discretize(supernet, decide(torch.zeros(2, 5, 4), supernet.blueprint))
    derived = Checkpoint.of(network, facts={"stage": "derive", "metrics": measures("abc")})
    write_checkpoint(tmp_path / "derive" / "model.safetensors", derived)
    return tmp_path
