"""Everything that can go wrong for a user, as one family.

Each error is one line that names the thing: which file or key, what was expected, what came, what
to do. A stage prints that line and exits with the error's code; any other exception is a bug of
ours and shows its traceback.
"""


class AsoSeError(Exception):
    """The root: something that the user can put right (exit code 1)."""

    exit_code = 1


class ParamsError(AsoSeError):
    """`params.yaml` is missing, unreadable or says something that cannot be.

    One line per mistake.
    """


class DataError(AsoSeError):
    """A data set, an image folder or a prepared split cannot be used."""


class GenotypeError(AsoSeError):
    """A genotype is malformed or does not fit its blueprint."""


class CheckpointError(AsoSeError):
    """A checkpoint is missing, damaged, of another format or of another network."""


class DeviceError(AsoSeError):
    """The device that was asked for is not there."""


class DeviceBusyError(DeviceError):
    """The device is there, and others hold it or its memory: it may be free later (exit code 4)."""

    exit_code = 4


class CodeChangedError(AsoSeError):
    """Code or params were edited while a stage ran, so its result belongs to neither version."""


class ParityError(AsoSeError):
    """The exported model does not compute what the trained one does."""


class ReportError(AsoSeError):
    """A record that the report is written from is missing or cannot be read."""


class RunError(AsoSeError):
    """The pipeline cannot be run: the tree, DVC, Git, a remote or a server is not as it must be."""


class TrainingFailedError(AsoSeError):
    """Training diverged, or lost what it had learnt, and could not recover (exit code 3)."""

    exit_code = 3


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether Python or torch, on an accelerator or the host, says that memory is used up."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)
