"""A teacher: an exported classifier whose answers the network learns too.

This module does not import torch, which `check` does not need.
N images, H x W pixels, C channels, K classes.
"""

import json
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from pipeline.harness.errors import DataError
from pipeline.prepared.facts import DatasetFacts

INPUT, LOGITS = "images", "logits"
"""Names in the files that export writes."""
NO_MODEL = (
    runtime_errors.EPFail,
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)
"""Errors of ONNX Runtime on a file that is damaged or not a model, or cannot be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """An exported classifier.

    where: the param and the file, for errors. shape: (H, W, C) of its images; a side that may be
    anything is a name.
    """

    where: str
    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    shape: tuple[int | str, int | str, int]

    def require_size(self, height: int, width: int) -> None:
        """Raise DataError unless it takes images of this size."""
        for own, side in zip(self.shape, (height, width), strict=False):
            if isinstance(own, int) and own != side:
                raise DataError(
                    f"{self.where}: takes images of {self.shape[0]} x {self.shape[1]} pixels, the"
                    f" data has {height} x {width}; expected the same, or a model that was"
                    " exported with export.any_size"
                )

    def require_fit(self, facts: DatasetFacts) -> None:
        """Raise DataError unless it takes such images and has their classes in their order."""
        self.require_size(facts.height, facts.width)
        if self.shape[2] != facts.channels:
            raise DataError(
                f"{self.where}: takes images of {self.shape[2]} channels, the data has"
                f" {facts.channels}"
            )
        for number, (own, name) in enumerate(zip_longest(self.classes, facts.classes)):
            if own != name:
                raise DataError(
                    f"{self.where}: its class {number} is {own!r}, the data's is {name!r};"
                    " expected the same classes in the same order"
                )

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, C) -> (N, K).

        Raises:
            DataError: the model gives no logits of its classes.
        """
        found: NDArray[np.float32]
        try:
            [found] = self.session.run([LOGITS], {INPUT: images})
        except NO_MODEL as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.where}: cannot be computed ({reason})") from None
        if found.shape != (len(images), len(self.classes)) or not np.isfinite(found).all():
            raise DataError(f"{self.where}: gives no logits of its {len(self.classes)} classes")
        return found


def read_teacher(path: str) -> Teacher:
    """Read a model that this project exported.

    Raises:
        DataError: the file is missing, not an ONNX file, or not exported by this project.
    """
    where = f"optimize.teacher: {path}"
    try:
        content = Path(path).read_bytes()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
        [given] = session.get_inputs()
        outputs = {output.name: output.type for output in session.get_outputs()}
        _, *shape = given.shape
        ends = (given.name, given.type, outputs.get(LOGITS), len(shape))
        if ends != (INPUT, "tensor(uint8)", "tensor(float)", 3):
            raise LookupError  # noqa: TRY301
        if type(classes) is not list or {type(name) for name in classes} != {str}:
            raise LookupError  # noqa: TRY301
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except NO_MODEL:
        reason = "not an ONNX model"
    except (ValueError, LookupError, RecursionError):
        reason = "no classifier of this project; expected a model.onnx that export wrote"
    else:
        height, width, channels = shape
        return Teacher(
            where=where, session=session, classes=tuple(classes), shape=(height, width, channels)
        )
    raise DataError(f"{where}: {reason}")
