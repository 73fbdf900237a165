"""A margin compares the label's logit with the largest other one."""

from pathlib import Path

import pytest
import torch

from pipeline.harness.errors import CheckpointError
from pipeline.margins.margins import margins, read_margins, write_margins


def test_a_margin_is_negative_where_another_class_is_likelier() -> None:
    logits = torch.tensor([[1.0, 4.0, -2.0], [3.0, 3.0, 5.0], [0.5, 0.5, 0.5]])
    found, others = margins(logits, torch.tensor([1, 0, 2]))
    assert found.tolist() == [3.0, -2.0, 0.0]
    assert others.tolist() == [0, 2, 0]


def test_margins_are_read_as_they_were_written_and_only_for_those_images(tmp_path: Path) -> None:
    path = tmp_path / "margins.safetensors"
    written = {"train": torch.randn(5), "validation": torch.randn(2)}
    write_margins(path, written)
    found = read_margins(path, {"train": 5, "validation": 2})
    assert all(torch.equal(found[split], written[split]) for split in written)
    for sizes in ({"train": 5}, {"train": 4, "validation": 2}, {"train": 5, "test": 2}):
        with pytest.raises(CheckpointError, match="not of the images that were trained on"):
            read_margins(path, sizes)
