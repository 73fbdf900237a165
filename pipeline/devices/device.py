"""The choice of the device, and how it computes: settings of the machine, never of the params."""

import ctypes
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, suppress
from functools import cache
from threading import Event, Thread

import torch

from pipeline.batches.room import free_bytes
from pipeline.console.progress import say
from pipeline.devices.together import meet
from pipeline.harness import ranks
from pipeline.harness.errors import DeviceBusyError, DeviceError

PRECISIONS = ("bf16", "fp32")
COMPILE = "ASO_SE_COMPILE"
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Settings of glibc's malloc, of <malloc.h>."""


def choose_device() -> torch.device:
    """Return the device that `ASO_SE_DEVICE` names, and print which it is.

    Without a name, or with `auto`, it is the accelerator with the most free memory, or the CPU if
    no accelerator can be used. Processes that train together each take their own device, and wait
    for each other. It becomes torch's current one, and may use the share of its memory that
    `ASO_SE_MEMORY_SHARE` says.

    Raises:
        DeviceError: the named device does not exist here, or another setting cannot be.
        DeviceBusyError: the named device is in use.
    """
    named = os.environ.get("ASO_SE_DEVICE") or "auto"
    kind = torch.accelerator.current_accelerator(check_available=True)
    if ranks.count() > 1:
        named = _own(str(kind or "cpu") if named == "auto" else named)
    try:
        device = _roomiest() if named == "auto" else _opened(named)
    except DeviceError as error:
        raise type(error)(f"ASO_SE_DEVICE={named}: {error}") from None
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    precision = "" if precision_of(device) == _usual(device) else f", {precision_of(device)}"
    compiled = ", compiling" if compiles() else ""
    processes = f", one of {ranks.count()} processes" if ranks.count() > 1 else ""
    say(f"on {device}{threads}{precision}{compiled}{processes}")
    if device.type == "cpu":
        _require_threads(torch.get_num_threads())
        _keep_freed_memory()
    elif device.index is not None:
        torch.accelerator.set_device_index(device.index)
    _share_memory(device)
    # float32 means float32: with TF32 the tests of the final network and its file would differ.
    torch.backends.cudnn.allow_tf32 = False
    meet()
    return device


def _keep_freed_memory() -> None:
    """Let glibc keep what tensors free for the next ones; other C libraries stay as they are.

    It gives blocks of more than 32 MiB back at once, and the kernel clears the pages of the next
    one: batches of 256 photos then take twice as long as their arithmetic.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def _require_threads(count: int) -> None:
    """Raise RuntimeError if so many threads cannot be started now.

    OpenMP would end the process, with an exit code that says something else.
    """
    done = Event()
    threads = [Thread(target=done.wait, daemon=True) for _ in range(count - 1)]
    try:
        for thread in threads:
            thread.start()
    finally:
        done.set()


def _own(kind: str) -> str:
    """Return the name of this process's own device among several of a kind.

    Raises:
        DeviceError: `kind` names a single device, but each process needs its own.
    """
    if ":" in kind:
        raise DeviceError(
            f"ASO_SE_DEVICE={kind}: {ranks.count()} processes need a device each; name the kind"
            f" alone, {kind.partition(':')[0]}"
        )
    return kind if kind == "cpu" else f"{kind}:{os.environ['LOCAL_RANK']}"


def _roomiest() -> torch.device:
    """Return the accelerator with the most free memory, else the CPU; print which are skipped."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if kind else 0
    devices = [f"{kind}:{index}" for index in range(count)]
    free = {}
    for device, found in (free_elsewhere(devices) if count > 1 else _free(devices)).items():
        if isinstance(found, str):
            say(f"{device}: {found}: skipped")
        else:
            free[device] = found
    return torch.device(max(free, key=lambda device: free[device], default="cpu"))


def free_elsewhere(devices: list[str]) -> dict[str, int | str]:
    """Return what `_free` does, found by a process of its own.

    To ask a device takes some of its memory until the process ends, also of those not chosen.
    """
    command = [sys.executable, "-m", __name__, *devices]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise DeviceError(f"{', '.join(devices)} cannot be asked: {reason}")
    found: dict[str, int | str] = json.loads(done.stdout)
    return found


def _free(devices: list[str]) -> dict[str, int | str]:
    """Return the free bytes of each device, or why it cannot be used."""
    found: dict[str, int | str] = {}
    for device in devices:
        try:
            found[device] = free_bytes(_opened(device))
        except DeviceError as error:
            found[device] = str(error)
    return found


def _opened(name: str) -> torch.device:
    """Return a device after testing it; raise DeviceError with only the reason."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if "busy" in reason or "out of memory" in reason:
            raise DeviceBusyError(reason) from None
        raise DeviceError(f"no such device here: {reason}") from None
    return device


def precision_of(device: torch.device) -> str:
    """Return in which numbers networks are trained: one of `PRECISIONS`.

    `ASO_SE_PRECISION` names it. By default it is bf16 on accelerators that have it, else fp32. fp16
    is not offered: it needs scaled losses. On CPUs bf16 was measured 29 % slower, and torch 2.15
    gives gradients of dilated depthwise kernels without meaning (1e33).

    Raises:
        DeviceError: there is no such precision, or not on this device.
    """
    named = os.environ.get("ASO_SE_PRECISION") or "auto"
    if named == "auto":
        return _usual(device)
    if named not in PRECISIONS:
        raise DeviceError(f"ASO_SE_PRECISION={named}: expected auto, {' or '.join(PRECISIONS)}")
    if named == "bf16" and device.type == "cpu":
        raise DeviceError("ASO_SE_PRECISION=bf16: only of accelerators; a CPU trains in fp32")
    return named


@cache
def _usual(device: torch.device) -> str:
    emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return "fp32" if device.type == "cpu" or emulated else "bf16"


def compiles() -> bool:
    """Whether optimize and the references train a compiled network, as `ASO_SE_COMPILE` says.

    Not by default: on a CPU it was measured to gain less than the compiling takes.

    Raises:
        DeviceError: it is neither 0 nor 1, or several processes train together.
    """
    named = os.environ.get(COMPILE) or "0"
    if named not in {"0", "1"}:
        raise DeviceError(f"{COMPILE}={named}: expected 0 or 1")
    if named == "1" and ranks.count() > 1:
        raise DeviceError(f"{COMPILE}=1: not by {ranks.count()} processes together")
    return named == "1"


def _share_memory(device: torch.device) -> None:
    """Limit the memory of the device that this process may use, if the environment says so.

    Raises:
        DeviceError: not a share, or the device is the CPU.
    """
    if not (named := os.environ.get("ASO_SE_MEMORY_SHARE")):
        return
    where = f"ASO_SE_MEMORY_SHARE={named}"
    try:
        share = float(named)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise DeviceError(f"{where}: expected a number above 0, at most 1")
    if device.type == "cpu":
        raise DeviceError(f"{where}: only of an accelerator; 'ulimit -v' limits a process")
    torch.get_device_module(device).set_per_process_memory_fraction(share)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in the precision of a device; weights stay float32."""
    enabled = precision_of(device) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_free(sys.argv[1:])))
