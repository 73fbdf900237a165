"""Counter-based randomness: a draw depends on its purpose, never on earlier draws.

So resuming needs no generator state, and the ranks of a parallel run draw the same path without
communication.
"""

import hashlib

import torch


def generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a fresh generator for one purpose.

    For example `generator(seed, "search", "path", epoch, step)`.
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
