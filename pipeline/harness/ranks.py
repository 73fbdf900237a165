"""Which of the processes that train one network together this is: a rank of torchrun's, or alone.

No torch here: whoever writes a file asks.
"""

import os


def number() -> int:
    """Return this process's rank; 0 where torchrun has not started it, whatever RANK says."""
    return int(os.environ["RANK"]) if _under_torchrun() else 0


def count() -> int:
    """Return how many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return number() == 0


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
