"""Where to compute is a fact of the machine."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from pipeline.devices import device
from pipeline.devices.device import (
    autocast,
    choose_device,
    compiles,
    free_elsewhere,
    precision_of,
)
from pipeline.harness.errors import AsoSeError, DeviceBusyError, DeviceError
from pipeline.training.resume import machine


def test_the_environment_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    assert choose_device() == torch.device("cpu")


def test_without_a_name_some_device_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASO_SE_DEVICE", raising=False)
    assert torch.ones(2, device=choose_device()).sum() == 2


def test_a_device_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "toaster")
    with pytest.raises(AsoSeError, match=r"^ASO_SE_DEVICE=toaster: no such device here: "):
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's malloc")
def test_a_large_tensor_on_the_cpu_takes_the_pages_of_the_one_before_it() -> None:
    program = (
        "import resource, torch\n"
        "from pipeline.devices.device import choose_device\n"
        "def taken(rounds):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(rounds):\n"
        "        torch.zeros(64 << 18)  # of 64 MiB\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "pages = (64 << 20) // resource.getpagesize()\n"
        "fresh = taken(10)\n"
        "choose_device()\n"
        "taken(1)\n"
        "print(fresh / pages, taken(10) / pages)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ASO_SE_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    fresh, kept = map(float, done.stdout.splitlines()[-1].split())
    assert fresh > 9
    assert kept < 3


def test_the_device_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    choose_device()
    assert capsys.readouterr().out == f"on cpu, {torch.get_num_threads()} threads\n"


def accelerators(monkeypatch: pytest.MonkeyPatch, free: list[int | str]) -> None:
    """Pretend that there are accelerators, each with free bytes or an error message when used."""

    def use(_: int, *, device: torch.device) -> None:
        found = free[device.index or 0]
        if isinstance(found, str):
            raise torch.AcceleratorError(found)

    monkeypatch.delenv("ASO_SE_DEVICE", raising=False)
    kind = torch.device("cuda")
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda *, check_available: kind)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: len(free))
    monkeypatch.setattr("torch.accelerator.get_memory_info", lambda device: (free[device.index], 9))
    monkeypatch.setattr("torch.accelerator.set_device_index", lambda _: None)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *, including_emulation: True)
    monkeypatch.setattr("torch.empty", use)
    monkeypatch.setattr("pipeline.devices.device.free_elsewhere", device._free)


def several(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """Pretend to be the second of two processes that torchrun has started."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("ASO_SE_DEVICE", named)
    monkeypatch.setattr("pipeline.devices.device.meet", lambda: None)


@pytest.mark.parametrize(("named", "own"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cpu", "cpu")])
def test_each_of_several_processes_takes_its_own_device(
    named: str, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerators(monkeypatch, [10, 30, 20])
    several(monkeypatch, named)
    assert choose_device() == torch.device(own)


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("cuda:1", r"^ASO_SE_DEVICE=cuda:1: 2 processes need a device each; .* alone, cuda$"),
        ("toaster", r"^ASO_SE_DEVICE=toaster:1: no such device here: "),
    ],
)
def test_a_device_that_several_processes_cannot_have_is_refused(
    named: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(monkeypatch, named)
    with pytest.raises(DeviceError, match=line):
        choose_device()


def test_of_several_accelerators_the_one_with_most_free_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accelerators(monkeypatch, [10, 30, 20])
    assert choose_device() == torch.device("cuda:1")


def test_an_accelerator_that_cannot_be_used_is_passed_over_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accelerators(monkeypatch, [10, "CUDA error: out of memory"])
    assert choose_device() == torch.device("cuda:0")
    accelerators(monkeypatch, ["CUDA error: device(s) is/are busy or unavailable"])
    monkeypatch.setenv("ASO_SE_DEVICE", "auto")
    assert choose_device() == torch.device("cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cuda:1: CUDA error: out of memory: skipped"
    assert lines[3].startswith("on cpu")


def test_several_devices_are_asked_in_a_process_of_its_own() -> None:
    found = free_elsewhere(["toaster:0", "toaster:1"])
    assert list(found) == ["toaster:0", "toaster:1"]
    assert str(found["toaster:0"]).startswith("no such device here: ")


def test_the_chosen_device_is_torchs_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, [10, 30])
    chosen: list[int] = []
    monkeypatch.setattr("torch.accelerator.set_device_index", chosen.append)
    choose_device()
    assert chosen == [1]


def test_the_precision_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accelerators(monkeypatch, [10])
    monkeypatch.setenv("ASO_SE_PRECISION", "fp32")
    chosen = choose_device()
    assert (precision_of(chosen), precision_of(torch.device("mps"))) == ("fp32", "fp32")
    assert capsys.readouterr().out == "on cuda:0, fp32\n"
    assert machine().endswith(", fp32")
    monkeypatch.delenv("ASO_SE_PRECISION")
    assert precision_of(chosen) == "bf16"


def test_compiling_is_a_setting_that_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accelerators(monkeypatch, [10])
    for value, told in (("", ""), ("0", ""), ("1", ", compiling")):
        monkeypatch.setenv("ASO_SE_COMPILE", value)
        choose_device()
        assert capsys.readouterr().out == f"on cuda:0{told}\n"
        assert machine().endswith(", compiled") == bool(told)


def test_processes_that_train_together_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASO_SE_COMPILE", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DeviceError, match=r"^ASO_SE_COMPILE=1: not by 2 processes together$"):
        compiles()


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("PRECISION=fp8", "expected auto, bf16 or fp32"),
        ("PRECISION=bf16", "only of accelerators; a CPU trains in fp32"),
        ("MEMORY_SHARE=half", "expected a number above 0, at most 1"),
        ("MEMORY_SHARE=1.5", "expected a number above 0, at most 1"),
        ("COMPILE=yes", "expected 0 or 1"),
        ("MEMORY_SHARE=0.5", "only of an accelerator; 'ulimit -v' limits a process"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    setting: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = setting.partition("=")
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    monkeypatch.setenv(f"ASO_SE_{name}", value)
    with pytest.raises(DeviceError, match=f"^ASO_SE_{setting}: {line}$"):
        choose_device()


def test_a_share_of_the_memory_of_an_accelerator_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accelerators(monkeypatch, [10])
    asked: list[float] = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", asked.append)
    monkeypatch.setenv("ASO_SE_MEMORY_SHARE", "0.25")
    choose_device()
    assert asked == [0.25]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_build_for_an_accelerator_that_is_not_there_does_not_think_it_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ASO_SE_DEVICE", raising=False)
    assert choose_device().type == "cpu"
