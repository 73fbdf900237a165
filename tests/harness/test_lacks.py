"""What a machine lacks is known by all words in which libraries say it, and by nothing else."""

import errno
import os

import pytest

from pipeline.harness.errors import DataError, ExitCode
from pipeline.harness.lacks import ending, is_lack_of_memory, lack

MEMORY = [
    "could not create a primitive",
    "could not create a primitive descriptor for a convolution forward propagation primitive",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "GET was unable to find an engine to execute this computation",
    "CUDA error: out of memory\nCUDA kernel errors might be reported at some other call",
    "std::bad_alloc",
    "\nIMPORTANT: READ THIS!\nOriginal error: libx.so: failed to map segment from shared object\n",
    "unable to mmap 4096 bytes from file </x>: Cannot allocate memory (12)",
]
OTHERS = ["mat1 and mat2 shapes cannot be multiplied", "cuDNN error: CUDNN_STATUS_BAD_PARAM"]


def of_system(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


def fail(error: Exception) -> None:
    raise error


def read(error: Exception, cause: Exception | None = None) -> DataError:
    """Return what a reader raises that takes every error for a fault of its file."""

    def blame() -> None:
        try:
            fail(error)
        except (ImportError, MemoryError, OSError, RuntimeError, ValueError):
            raise DataError("a.png: not a readable image; repair it or take it out") from cause

    with pytest.raises(DataError) as caught:
        blame()
    return caught.value


@pytest.mark.parametrize("words", MEMORY)
def test_the_words_of_libraries_for_no_memory_are_known(words: str) -> None:
    error = RuntimeError(words)
    assert is_lack_of_memory(error)
    reason = words.strip().splitlines()[-1 if "IMPORTANT" in words else 0]
    line = f"out of memory: {reason}; free some, or choose a smaller network"
    assert ending(error) == (line, ExitCode.EXHAUSTED)


@pytest.mark.parametrize("words", OTHERS)
def test_other_words_are_bugs_of_ours(words: str) -> None:
    assert ending(RuntimeError(words)) is None


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (MemoryError(), "out of memory: MemoryError; "),
        (of_system(errno.ENOMEM), "out of memory: [Errno 12] Cannot allocate memory; "),
        (RuntimeError("can't start new thread"), "no more threads or processes: can't start new "),
        (of_system(errno.EAGAIN), "no more threads or processes: [Errno 11] Resource temporarily "),
        (
            of_system(errno.EMFILE, "a.png"),
            "no more open files: [Errno 24] Too many open files: 'a.",
        ),
        (of_system(errno.ENFILE), "no more open files: [Errno 23] Too many open files in system; "),
        (
            ImportError("libtorch.so: cannot open shared object file: Too many open files"),
            "no more open files: libtorch.so: ",
        ),
        (of_system(errno.ENOSPC, "a.png"), "a.png: No space left on device"),
    ],
)
def test_a_lack_is_found_behind_what_a_reader_makes_of_it(error: Exception, begins: str) -> None:
    for seen in (error, read(error)):
        told = ending(seen)
        assert told
        assert told[1] == ExitCode.EXHAUSTED
        assert told[0].startswith(begins)


def test_what_a_person_wrote_is_no_lack() -> None:
    quoted = read(ValueError("data.path: out of memory"))
    assert ending(quoted) == (str(quoted), ExitCode.USER)


def test_a_named_cause_ends_the_search() -> None:
    assert lack(read(MemoryError(), ValueError("sizes in the file"))) == ""
