"""How long a model takes for one image in ONNX Runtime, on one thread."""

from time import perf_counter

import numpy as np
import onnxruntime
from numpy.typing import NDArray

REPEATS = 7
"""Number of timings, of which the least counts: other work on the machine only adds to it."""
SECONDS = 0.01
"""Least length of a timing."""


def milliseconds(model: bytes, images: NDArray[np.generic]) -> float:
    """Return the least mean time of a run in milliseconds, over `REPEATS` timings.

    model: with one input. images: what it is fed with.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    runs, times = 1, list[float]()
    while len(times) < REPEATS:
        start = perf_counter()
        for _ in range(runs):
            session.run(None, feed)
        seconds = perf_counter() - start
        if seconds < SECONDS:
            runs *= 2  # the first timings, which also warm up, do not count
        else:
            times.append(1000 * seconds / runs)
    return min(times)
