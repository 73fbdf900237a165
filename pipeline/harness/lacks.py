"""What a machine may lack: memory, processes and threads, open files, room on a disk.

Libraries say it by many classes and in many words, which are all known here and nowhere else.
"""

import errno

from pipeline.harness.errors import AsoSeError, ExitCode
from pipeline.harness.showing import shown

MEMORY = (
    "out of memory",  # CUDA, Pillow's decoders
    "can't allocate memory",  # torch's allocator on the host
    "Cannot allocate memory",  # the kernel
    "Failed to allocate memory",  # ONNX Runtime
    "failed to map segment from shared object",  # the loader of libraries
    "bad_alloc",  # the standard library of C++
    "could not create a primitive",  # oneDNN, which names no reason
    "could not create a memory",
    "could not execute a primitive",
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no room for the state of the library
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # cuDNN: none whose workspace fits
    "Unable to find a valid cuDNN algorithm",
)
THREADS = (
    "can't start new thread",  # Python
    "Resource temporarily unavailable",  # the kernel, through C++
    "pthread_create failed",  # ONNX Runtime
)
FILES = ("Too many open files", "Too many open files in system")
"""Words of the kernel, through the loader of libraries."""
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
SPEAKING = (RuntimeError, ImportError, SystemError, OSError)
"""Errors whose words are those of a library; others may quote what a person wrote."""
LIBRARIES = ("onnxruntime.", "pyarrow.", "safetensors")
"""Beginnings of the modules of libraries with errors of their own."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or a library means that the host or the device lacks memory."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or _number(error) == errno.ENOMEM or _says(error, MEMORY)


def lack(error: BaseException, where: object = "") -> str:
    """Return one line about what the machine lacks, if this is why an error came, else ''.

    An error counts as those that it came from, also after ``from None``: a reader who lacks memory
    calls a good file damaged. Only a named cause ends the search.

    where: what is named if an error of files names none.
    """
    seen: BaseException | None = error
    while seen is not None:
        if line := _line(seen, where):
            return line
        seen = seen.__cause__ or seen.__context__
    return ""


def ending(error: BaseException, where: object = "") -> tuple[str, int] | None:
    """Return the line and the exit code with which an error ends a program; None for a bug of ours.

    where: what is named if an error of files names none; without it, such an error is a bug.
    """
    if isinstance(error, AsoSeError) and error.exit_code != ExitCode.USER:
        return str(error), error.exit_code
    if line := lack(error, where):
        return line, ExitCode.EXHAUSTED
    if isinstance(error, AsoSeError):
        return str(error), error.exit_code
    if type(error).__name__ == "AcceleratorError":
        reason = f"the device failed: {_reason(error)}"
        return f"{reason}; run it again, or set ASO_SE_DEVICE to another", ExitCode.EXHAUSTED
    if isinstance(error, OSError) and (named := error.filename or where):
        return f"{shown(named)}: {error.strerror or error}", ExitCode.USER
    return None


def _line(error: BaseException, where: object) -> str:
    """Return the line about an error itself, or ''."""
    if is_lack_of_memory(error):
        return f"out of memory: {_reason(error)}; free some, or choose a smaller network"
    number = _number(error)
    if number == errno.EAGAIN or _says(error, THREADS):
        return f"no more threads or processes: {_reason(error)}; end some, or raise ulimit -u"
    if number in {errno.EMFILE, errno.ENFILE} or _says(error, FILES):
        return f"no more open files: {_reason(error)}; close some, or raise ulimit -n"
    if number in DISK and isinstance(error, OSError):
        return f"{shown(error.filename or where)}: {error.strerror}"
    return ""


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    speaks = isinstance(error, SPEAKING) or type(error).__module__.startswith(LIBRARIES)
    return speaks and _number(error) is None and any(one in str(error) for one in words)


def _reason(error: BaseException) -> str:
    """Return the line of an error that names the lack, else its first, else its class."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    named = (line for line in lines if any(one in line for one in (*MEMORY, *THREADS, *FILES)))
    return next(named, lines[0]).strip()
