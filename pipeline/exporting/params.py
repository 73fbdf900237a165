"""The `export` section: what is exported, and what it must satisfy."""

from pydantic import Field

from pipeline.harness.section import Fraction, Section


class ExportParams(Section):
    """Which models are written, and how good they must be."""

    max_difference: float = Field(
        default=1e-4,
        gt=0,
        description="largest accepted difference of a logit between torch and ONNX Runtime",
    )
    any_size: bool = Field(
        default=False,
        description="the models take images of any height and width; they bring them to"
        " data.image_size themselves, as training did",
    )
    int8: bool = Field(
        default=False,
        description="also write a model of 8-bit weights, calibrated on training images",
    )
    half: bool = Field(
        default=False, description="also write a model of 16-bit floating point, for GPUs"
    )
    accuracy_tolerance: Fraction = Field(
        default=0.01,
        description="accuracy on the test images (a fraction of 1) that each of these may lose",
    )
