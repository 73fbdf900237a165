"""The `augmentation` section: how training varies its images."""

from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Section


class AugmentationParams(Section):
    """How training varies its images; validation and test images stay as they are."""

    crop_padding: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="black pixels added on each side of an image before a random crop; 0: off",
    )
    flip: bool = Field(default=False, description="mirror each image with probability 1/2")
    zoom: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="smallest part of an image's area that is cut out and scaled to a whole image;"
        " 1: off (Szegedy et al. 2015)",
    )
    color: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="largest change of brightness, contrast and saturation, as a part of 1; 0: off",
    )
    trivial: bool = Field(
        default=False,
        description="change each image by one of 14 operations of any strength, before cutout;"
        " TrivialAugment (Müller & Hutter 2021): shears, shifts, turns, colors, contrast, ...",
    )
    cutout: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0,
        description="side in pixels of a square that is blanked (DeVries & Taylor 2017); 0: off",
    )
