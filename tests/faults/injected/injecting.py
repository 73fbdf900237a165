"""Faults at a chosen instant, for tests; the product has no hook for them.

    arm("write 3: ENOSPC")   the third write stops half-way, and so does each after it
    arm("fsync 2: EIO")      of a file or a folder
    arm("rename 1: EROFS")   likewise "open", for writing, and "mkdir" and "flock"
    arm("write 3: SIGKILL")  at any of these, or in the middle of "step", a training step
    arm("step 2: CUDA")      likewise; a broken GPU, which fails in each step from then on
    arm("thread 1: EAGAIN")  no more threads; likewise "process"
    arm("descriptor 9: EMFILE")  no more open files, once the stage has said how it ends
    arm("tensor 9: ENOMEM")  no more memory for tensors
    arm("trace")             nothing fails; each of them is a line on stderr: what, and which file

Everything that writes here opens its files by `Path.open("wb")` and renames them by `Path.replace`.
"""

import errno
import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LACKED: dict[str, Exception] = {
    "thread": RuntimeError("can't start new thread"),
    "process": BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    "descriptor": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "tensor": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
}
"""Operation -> error of the machine that lacks what it takes."""


@dataclass(slots=True)
class Fault:
    """A fault, called at each instant at which an operation can fail."""

    operation: str
    number: int
    effect: str
    seen: int = 0

    def __call__(self, operation: str, what: object) -> None:
        """Fail if this is the chosen instant or, for disk errors, a later one."""
        if self.effect == "trace" and operation not in LACKED:
            sys.stderr.write(f"{operation} {what}\n")
        if operation != self.operation:
            return
        self.seen += 1
        if self.effect.startswith("SIG") and self.seen == self.number:
            os.kill(os.getpid(), getattr(signal, self.effect))
        elif operation in LACKED and self.seen >= self.number:
            raise LACKED[operation]
        elif self.effect.startswith("E") and self.seen >= self.number:
            code = getattr(errno, self.effect)
            raise OSError(code, os.strerror(code))
        elif self.effect == "CUDA" and self.seen >= self.number:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")


def arm(text: str) -> None:
    """Patch the functions of this process so that it meets the fault."""
    if text == "trace":
        fault = Fault("", 0, "trace")
    else:
        match = re.fullmatch(r"(\w+) (\d+): (\w+)", text)
        assert match, text
        fault = Fault(match[1], int(match[2]), match[3])
    _patch_files(fault)
    _patch_locks(fault)
    _patch_lacks(fault)
    if fault.operation == "step" or fault.effect == "trace":
        _patch_steps(fault)


def _patch_files(fault: Fault) -> None:
    opened, synced, renamed, made = io.open, os.fsync, os.replace, os.mkdir

    class HalfWritten(io.FileIO):
        def write(self, content: Any) -> int:
            half = len(content) // 2
            written = super().write(content[:half])
            fault("write", self.name)
            return written + super().write(content[half:])

    def open_(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode != "wb":
            return opened(file, mode, *arguments, **named)
        fault("open", file)
        return io.BufferedWriter(HalfWritten(file, "w"))

    def fsync(descriptor: int) -> None:
        fault("fsync", Path(f"/proc/self/fd/{descriptor}").resolve())
        synced(descriptor)

    def replace(source: Any, target: Any) -> None:
        fault("rename", target)
        renamed(source, target)

    def mkdir(path: Any, *arguments: Any, **named: Any) -> None:
        made(path, *arguments, **named)
        fault("mkdir", path)

    io.open, os.fsync, os.replace, os.mkdir = open_, fsync, replace, mkdir  # type: ignore[assignment]


def _patch_locks(fault: Fault) -> None:
    locked = fcntl.flock

    def flock(file: Any, how: int) -> None:
        fault("flock", file)
        locked(file, how)

    fcntl.flock = flock


def _patch_lacks(fault: Fault) -> None:
    if fault.operation == "descriptor":

        def hook(event: str, _: object) -> None:
            if event == "open" and sys.excepthook is not sys.__excepthook__:
                fault("descriptor", "")

        sys.addaudithook(hook)
    if fault.operation == "process":
        forked = subprocess._fork_exec  # type: ignore[attr-defined]

        def fork(*arguments: Any) -> int:
            fault("process", "")
            return int(forked(*arguments))

        subprocess._fork_exec = fork  # type: ignore[attr-defined]
    if fault.operation == "thread":
        started = threading._start_new_thread  # type: ignore[attr-defined]

        def start(*arguments: Any) -> int:
            fault("thread", "")
            return int(started(*arguments))

        threading._start_new_thread = start  # type: ignore[attr-defined]
    if fault.operation == "tensor":
        from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415 - as below

        class Lacking(TorchDispatchMode):
            def __torch_dispatch__(self, operation: Any, _: Any, arguments: Any, named: Any) -> Any:
                fault("tensor", operation)
                return operation(*arguments, **(named or {}))

        Lacking().__enter__()


def _patch_steps(fault: Fault) -> None:
    import torch  # noqa: PLC0415 - a stage without torch makes no steps

    backward = torch.Tensor.backward

    def step(tensor: Any, *arguments: Any, **named: Any) -> None:
        fault("step", "")
        backward(tensor, *arguments, **named)

    torch.Tensor.backward = step  # type: ignore[assignment, method-assign]
