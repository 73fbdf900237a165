"""The `data` section: which images, and how they are split."""

from os.path import normpath
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.harness.section import LocalPath, Section
from pipeline.prepared.facts import Fit

ARTIFACTS = Path("artifacts")
"""Folder that the stages write to, which DVC may not hash as their input."""
TABLES = frozenset({".csv", ".tsv"})
"""Suffixes of tables of labels, which are read from the folder that holds them."""
DataName = Literal["digits", "cifar10", "cifar100", "fashion_mnist", "svhn", "image_folder"]
Duplicates = Literal["drop", "keep", "refuse"]
"""What happens to copies of images."""
Unreadable = Literal["refuse", "skip"]
ProperFraction = Annotated[float, Field(gt=0, lt=1)]


class DataParams(Section):
    """The images, and how they are split."""

    name: DataName = Field(
        default="digits",
        description="the data set; digits needs no download, image_folder is the user's own images",
    )
    path: LocalPath = Field(
        default="data",
        description="folder or archive that holds the images; downloads go to <path>/downloads",
    )
    image_size: Annotated[int, Field(ge=4, le=1024)] = Field(
        default=8,
        description="side of the square images in pixels; others are resized to it, as `fit` says",
    )
    stored_size: Annotated[int, Field(ge=5, le=2048)] | None = Field(
        default=None,
        description="side in pixels of the images that augmentation.zoom cuts parts from; null:"
        " image_size; more, at most twice as much: parts have the detail that image_size loses;"
        " augmentation.crop_padding then counts these pixels; only training sees them",
    )
    fit: Fit = Field(
        default="crop",
        description="how a photo becomes a square; crop: its shorter side is scaled to image_size,"
        " and the centre is kept; pad: its longer side is, the rest is black, nothing is cut off;"
        " aso-se predict does the same",
    )
    unreadable: Unreadable = Field(
        default="refuse",
        description="what happens to images of a folder that cannot be read; refuse: they are an"
        " error that names them; skip: they are left out",
    )
    validation_fraction: ProperFraction = Field(
        default=0.3,
        description="part of the training images that the architecture is decided on; not used"
        " with an image folder that has val/",
    )
    test_fraction: ProperFraction = Field(
        default=0.2,
        description="part that is kept for the one test; used only where the data set has no"
        " test split of its own (digits, an image folder without test/)",
    )
    duplicates: Duplicates = Field(
        default="drop",
        description="images of validation and test that other splits have too; drop: left out;"
        " keep: kept; refuse: nothing is prepared; found by equal pixels at image_size",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        stored, side = self.stored_size, self.image_size
        if stored is not None and not side < stored <= 2 * side:
            raise ValueError(
                f"stored_size: expected null, or {side + 1} to {2 * side} with an image_size of"
                f" {side}, got {stored}"
            )
        return self

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        folder = Path(normpath(Path.cwd() / path))
        if folder.suffix.lower() in TABLES:
            raise ValueError(
                f"expected the folder {Path(path).parent} that holds this table and its images,"
                f" as DVC watches nothing else, got {path!r}"
            )
        artifacts = Path.cwd() / ARTIFACTS
        if artifacts.is_relative_to(folder) or folder.is_relative_to(artifacts):
            raise ValueError(
                f"expected a folder apart from {ARTIFACTS}/, such as data/images, got {path!r}"
            )
        return path
