"""A pretended accelerator: its tensors have a device of their own, their numbers are on the CPU.

What a real one refuses (tensors of two devices in one operation, a generator of another device;
float64, which Apple's lack) is an error here, too. What makes the host wait for the device, and
what is launched on it, is counted by the function of the engine that did it. `backend.py` makes
torch know it.
"""

import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).parents[2]
NAME = "pretended"
ANY = 1 << 20
"""Number of images that no batch has."""
FREE = {
    *("view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select"),
    *("unsqueeze", "squeeze", "detach", "alias", "as_strided", "split", "split_with_sizes"),
    *("tensor_split", "unbind", "_reshape_alias", "lift_fresh", "diagonal", "chunk", "view_as"),
    *("unfold", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_local_scalar_dense", "is_same_size", "sym_size"),
}
"""Operations that launch nothing: views, memory."""
MIXING = {
    *("copy_", "_to_copy", "set_", "_has_same_storage_numel", "is_same_size"),
    *("index", "index_put", "index_put_"),
}
"""Operations that take tensors of two devices."""
UNLOCKED = 1024
"""Bytes that the host copies to the device without waiting, though they are not page-locked."""
OF_UNKNOWN_SIZE = {"nonzero", "masked_select", "unique2", "_unique2", "repeat_interleave"}
"""Operations whose result has a size that the host waits for."""
CALLS = {
    "weight_step": "training/steps.py",
    "architecture_step": "alternating/alternation.py",
    "compare": "alternating/agreement.py",
    "evaluate": "training/evaluation.py",
    "evaluate_paths": "supernet/evaluation.py",
    "training_batches": "batches/batches.py",
}
"""Functions of the engine by which is counted, and their files."""


class RefusedError(AssertionError):
    """What a real accelerator refuses."""


@dataclass(slots=True)
class Call:
    """What one call of a function of the engine did, but for what inner ones of `CALLS` did."""

    name: str
    launches: int = 0
    waits: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Log:
    """Everything that was done. most_images: of a convolution; memory runs out for more."""

    calls: dict[FrameType | None, Call] = field(default_factory=dict)
    newest: Call = field(default_factory=lambda: Call(""))
    most_images: int = ANY

    def call(self) -> Call:
        """Return the call that is running."""
        if threading.current_thread() is not threading.main_thread():
            return self.newest  # a backward pass, in torch's own thread
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            file = CALLS.get(code.co_name)
            if file and code.co_filename.endswith(file):
                break
            frame = frame.f_back
        name = frame.f_code.co_name if frame else ""
        self.newest = self.calls.setdefault(frame, Call(name))
        return self.newest

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return by function: calls, most launches and waits of a call, and lines that wait."""
        found = {}
        for name in sorted({call.name for call in self.calls.values()}):
            calls = [call for call in self.calls.values() if call.name == name]
            found[name] = {
                "calls": len(calls),
                "launches": max(call.launches for call in calls),
                "waits": max(len(call.waits) for call in calls),
                "lines": dict(Counter(line for call in calls for line in call.waits)),
            }
        return found

    def clear(self) -> None:
        """Forget everything."""
        self.calls.clear()
        self.newest = Call("")
        self.most_images = ANY


LOG = Log()


class Tensor(torch.Tensor):
    """A tensor of the device."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Tensor":
        made: Tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=here(),
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(function, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the numbers; the host waits."""
        LOG.call().waits.append(line())
        return self.inner.tolist()


def here() -> torch.device:
    """Return the device; torch knows it after `install`."""
    return torch.device(f"{NAME}:0")


class Mode(TorchDispatchMode):
    """Sees operations that have no tensor of the device yet, such as those that create one."""

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(function, args, kwargs or {})


def dispatch(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU; refuse it or count it as an accelerator would."""
    name, takes_device = described(function)
    tensors = tensors_in((args, kwargs))
    near = [one for one in tensors if isinstance(one, Tensor)]
    far = [one for one in tensors if not isinstance(one, Tensor) and one.dim()]
    wanted = kwargs.get("device")
    creates = wanted is not None and takes_device
    stays = torch.device(wanted).type == NAME if creates else bool(near)
    if (source := kwargs.get("generator")) is not None:
        home = Generator.homes.get(source.initial_seed(), "cpu")
        if stays != (home == NAME):
            raise RefusedError(f"{name}: a generator of {home} at {line()}")
    if not stays and not near:
        return function(*args, **kwargs)
    leaves = creates and not stays
    if not leaves and torch.float64 in {kwargs.get("dtype"), *(one.dtype for one in tensors)}:
        raise RefusedError(f"{name}: float64 at {line()}")
    call = LOG.call()
    call.launches += name not in FREE
    if waits(name, args, near, far, leaves=leaves):
        call.waits.append(f"{name} {line()}")
    elif far and name not in MIXING:
        raise RefusedError(f"{name}: tensors of two devices at {line()}")
    if name == "convolution" and len(args[0]) > LOG.most_images:
        raise torch.OutOfMemoryError(f"no memory for {len(args[0])} images")
    return computed(function, name, args, kwargs, created=stays and creates, leaves=leaves)


@cache
def described(function: Any) -> tuple[str, bool]:
    """Return the name of an operation, and whether it takes a device."""
    schema = function._schema
    return schema.name.split("::")[1], "device" in {one.name for one in schema.arguments}


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples and dicts, sooner than torch's own function."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return []
    return [tensor for one in value for tensor in tensors_in(one)]


def changed(change: Callable[[Any], Any], value: Any) -> Any:
    """Return nested lists, tuples and dicts with everything in them changed by a function."""
    if isinstance(value, dict):
        return {key: changed(change, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([changed(change, one) for one in value])
    return change(value)


def page_locked(one: torch.Tensor) -> torch.Tensor:
    """Return a copy on the host from which the device copies while the host goes on."""
    copied = one.clone()
    copied.page_locked = True  # type: ignore[attr-defined]
    return copied


def waits(name: str, args: Any, near: list[Any], far: list[Any], *, leaves: bool) -> bool:
    """Whether the host waits for an operation. leaves: whether its result is on the host."""
    if name in OF_UNKNOWN_SIZE or (near and (leaves or name == "_local_scalar_dense")):
        return True
    sources = far if name in {"copy_", "_to_copy"} else []
    if any(one.nbytes > UNLOCKED and not hasattr(one, "page_locked") for one in sources):
        return True
    if name == "copy_":
        return bool(near and far) and not isinstance(args[0], Tensor)
    if name in {"index", "index_put", "index_put_"}:
        tensors = [one for one in args[1] if isinstance(one, torch.Tensor)]
        masks = any(one.dtype in (torch.bool, torch.uint8) for one in tensors)
        return masks or any(not isinstance(one, Tensor) and one.dim() for one in tensors)
    return False


def computed(
    function: Any, name: str, args: Any, kwargs: Any, *, created: bool, leaves: bool
) -> Any:
    """Return the result of an operation, on the device unless it leaves it.

    created: whether it is made there from nothing.
    """

    def inner(one: Any) -> Any:
        return one.inner if isinstance(one, Tensor) else one

    given = tensors_in((args, kwargs))
    args, kwargs = changed(inner, args), changed(inner, kwargs)
    if created:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    if name == "_to_copy":
        kwargs.pop("non_blocking", None)
    if name == "convolution_backward":
        # On CPUs torch 2.15 gives numbers without meaning for dilated kernels in bfloat16.
        found = function(*changed(in_float32, args), **kwargs)
        result = changed(lambda one: one if one is None else one.to(args[0].dtype), found)
    else:
        result = function(*args, **kwargs)
    if name == "_local_scalar_dense":
        return result
    if leaves:
        return result.clone()
    known = {id(inner(one)): one for one in given}

    def outer(one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or isinstance(one, Tensor):
            return one
        return known[id(one)] if id(one) in known else Tensor(one)

    return changed(outer, result)


def in_float32(one: Any) -> Any:
    """Return a tensor of bfloat16 in float32, anything else as it is."""
    return one.float() if isinstance(one, torch.Tensor) and one.dtype == torch.bfloat16 else one


def line() -> str:
    """Return the innermost line of the engine that is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith((f"{ROOT}/pipeline/", f"{ROOT}/stages/")):
            return f"{path.removeprefix(f'{ROOT}/')}:{frame.f_lineno}"
        frame = frame.f_back
    return "a test"


class Generator(torch.Generator):
    """A generator of the device; known again by its seed, because torch hands on another object."""

    homes: ClassVar[dict[int, str]] = {}
    home: str

    def __new__(cls, device: torch.device | str = "cpu") -> "Generator":
        made = super().__new__(cls, "cpu")
        made.home = torch.device(device).type
        return made

    @property
    def device(self) -> torch.device:
        """Where its draws are."""
        return here() if self.home == NAME else torch.device("cpu")

    def manual_seed(self, seed: int) -> "Generator":
        """Begin anew."""
        super().manual_seed(seed)
        self.homes[seed] = self.home
        return self
