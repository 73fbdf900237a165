"""All errors that a user can meet, as one family.

Each error is one line: which file or key, what was expected, what came, what to do. A stage prints
that line and exits with the error's code; any other exception is a bug of ours and shows its
traceback.
"""

from enum import IntEnum

from pydantic import ValidationError

from pipeline.harness.showing import shown

LONGEST_REASON = 300
"""Number of characters that are shown of what a library says."""


class ExitCode(IntEnum):
    """Exit codes of a stage and of `aso-se`; docs/running.md has the table."""

    DONE = 0
    USER = 1
    USAGE = 2
    TRAINING = 3
    EXHAUSTED = 4
    INTERRUPTED = 75  # EX_TEMPFAIL: nothing is wrong, run it again


class AsoSeError(Exception):
    """The root of the family: an error that the user can fix."""

    exit_code = ExitCode.USER


class ParamsError(AsoSeError):
    """`params.yaml` is missing, unreadable or invalid; the message has one line per mistake."""


class DataError(AsoSeError):
    """A data set, an image folder or a prepared split cannot be used."""


class GenotypeError(AsoSeError):
    """A genotype is malformed or does not fit its blueprint."""


class CheckpointError(AsoSeError):
    """A checkpoint is missing, damaged, of another format or of another network."""


class DeviceError(AsoSeError):
    """The requested device does not exist."""


class DeviceBusyError(DeviceError):
    """The device exists, but others use it or its memory; it may be free later."""

    exit_code = ExitCode.EXHAUSTED


class CodeChangedError(AsoSeError):
    """Code or params were edited while a stage ran, so its result belongs to neither version."""


class FileReplacedError(AsoSeError):
    """Another program replaced a file that a stage reads or wrote."""


class ParityError(AsoSeError):
    """The exported model does not compute what the trained one does."""


class ReportError(AsoSeError):
    """A record that the report is written from is missing or cannot be read."""


class RunError(AsoSeError):
    """The pipeline cannot run: something is wrong with the tree, DVC, Git, a remote or a server."""


class TrainingFailedError(AsoSeError):
    """Training diverged, or lost what it had learnt, and could not recover."""

    exit_code = ExitCode.TRAINING


def reason(error: BaseException) -> str:
    """Return what is wrong by a library's error, as one printable line of limited length."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
    else:
        text = repr(error)
    return shown(" ".join(text.split())[:LONGEST_REASON])
