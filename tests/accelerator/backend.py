"""Makes the pretended accelerator known to torch, with autocast as CUDA's."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._foreach_utils import _foreach_supported_types
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.accelerator.pretended import (
    LOG,
    NAME,
    Generator,
    Log,
    Mode,
    Tensor,
    changed,
    page_locked,
)

ROOMY = 1 << 36
"""Bytes of memory that hold everything."""
LOW = ("conv2d", "linear", "addmm", "mm")
"""Operations that autocast computes in bfloat16."""
WIDE = ("cross_entropy_loss", "log_softmax.int", "softmax.int")
"""Operations that autocast computes in float32."""


class Module:
    """What torch asks about the device: `torch.pretended`."""

    is_available = staticmethod(lambda: True)
    is_initialized = staticmethod(lambda: True)
    _lazy_init = staticmethod(lambda: None)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    manual_seed_all = staticmethod(lambda _: None)


class Hooks(torch._C._acc.PrivateUse1Hooks):
    """What torch's own code asks about the device."""

    def is_available(self) -> bool:
        """Whether it can be used."""
        return True

    def has_primary_context(self, _: int) -> bool:
        """Whether it is in use."""
        return True

    def is_built(self) -> bool:
        """Whether torch has it."""
        return True


CASTS: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
"""Weights that autocast has cast, which it keeps until it ends."""


def cast(one: Any, dtype: torch.dtype) -> Any:
    """Return a tensor of the device as another float type."""
    if not isinstance(one, Tensor) or one.dtype in (dtype, torch.float64):
        return one
    if not one.is_floating_point():
        return one
    if dtype == torch.float32 or not (one.requires_grad and one.is_leaf):
        return one.to(dtype)
    if id(one) not in CASTS:
        CASTS[id(one)] = (one, one.to(dtype))
    return CASTS[id(one)][1]


def install() -> tuple[torch.library.Library, torch.library.Library]:
    """Make the device known to torch, with autocast; once in a process. Keep what it returns."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=Module, hook=Hooks())
    _foreach_supported_types.append(Tensor)
    rest = torch.library.Library("_", "IMPL")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    library = torch.library.Library("aten", "IMPL")
    within = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def kernel(operation: Any, dtype: torch.dtype) -> Callable[..., Any]:
        def compute(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(within):
                args, kwargs = changed(lambda one: cast(one, dtype), (args, kwargs))
                return operation(*args, **kwargs)

        return compute

    for names, dtype in ((LOW, torch.bfloat16), (WIDE, torch.float32)):
        for name in names:
            packet, _, overload = name.partition(".")
            operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
            library.impl(operation, kernel(operation, dtype), "AutocastPrivateUse1")
    return rest, library


@contextlib.contextmanager
def pretended(*, free_bytes: int = ROOMY) -> Iterator[Log]:
    """Let the device work; call `install` before. free_bytes: memory that it says is free."""
    leave, patches = torch.autocast.__exit__, contextlib.ExitStack()

    def patch(owner: Any, name: str, value: Any) -> None:
        patches.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def left(self: torch.autocast, *error: Any) -> Any:
        CASTS.clear()
        return leave(self, *error)

    with patches, Mode():
        patch(torch, "Generator", Generator)
        patch(torch.autocast, "__exit__", left)
        patch(torch.accelerator, "get_memory_info", lambda _=None: (free_bytes, 2 * ROOMY))
        patch(torch.accelerator, "empty_cache", lambda: None)
        patch(torch.Tensor, "pin_memory", page_locked)
        patches.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        overwrite = torch.__future__.set_overwrite_module_params_on_conversion
        patches.callback(overwrite, torch.__future__.get_overwrite_module_params_on_conversion())
        overwrite(True)
        yield LOG
