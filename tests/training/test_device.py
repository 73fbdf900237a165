"""Where to compute is a fact of the machine."""

import pytest
import torch

from pipeline.errors import AsoSeError, DeviceBusyError
from pipeline.training.device import autocast, choose_device


def test_the_environment_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    assert choose_device() == torch.device("cpu")


def test_without_a_name_some_device_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASO_SE_DEVICE", raising=False)
    assert torch.ones(2, device=choose_device()).sum() == 2


def test_a_device_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "toaster")
    with pytest.raises(AsoSeError, match=r"ASO_SE_DEVICE.*toaster"):
        choose_device()


def test_cpus_compute_in_full_precision() -> None:
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_device_that_others_hold_is_no_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy\nmore")

    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    monkeypatch.setattr("torch.empty", refuse)
    with pytest.raises(DeviceBusyError, match=r"^ASO_SE_DEVICE=cpu: .* busy$") as caught:
        choose_device()
    assert caught.value.exit_code == 4
