"""The rank of this process among those that torchrun started to train one network together.

This module does not import torch, because everything that writes a file imports it.
"""

import os


def number() -> int:
    """Return this process's rank; 0 if torchrun has not started it, whatever RANK says."""
    return int(os.environ["RANK"]) if _under_torchrun() else 0


def count() -> int:
    """Return the number of processes."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else 1


def is_first() -> bool:
    """Whether this process writes and prints for all."""
    return number() == 0


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
