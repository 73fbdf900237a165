"""Training, validation and test splits that share no image, and statistics of channels.

N images, H x W pixels, C channels.
"""

from itertools import chain
from math import ceil, sqrt

import numpy as np

from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled, Splits


def split(source: Source, *, validation_fraction: float, test_fraction: float, seed: int) -> Splits:
    """Split at random, each class by the same fraction.

    Args:
        source: the data set; its own test split is kept as it is, a validation split of its own
            is put into random order.
        validation_fraction: fraction of the training images, after a test split was taken, if the
            source has no validation split.
        test_fraction: fraction of the training images, if the source has no test split.
        seed: decides which image goes where, and the random order of training and validation.

    Raises:
        DataError: a class has too few images to be in every split.
    """
    # One state for each of the two cuts; scikit-learn takes 32 bits.
    test_state, validation_state = map(int, np.random.SeedSequence(seed).generate_state(2))
    training, test = source.train, source.test
    if test is None:
        _require_enough(training, source.classes, "data.test_fraction", test_fraction)
        training, test = _cut(training, test_fraction, test_state)
    if source.validation is not None:
        # The first batches must hold all classes: BatchNorm statistics are estimated on them.
        train, validation = (
            _shuffled(one, validation_state) for one in (training, source.validation)
        )
    else:
        _require_enough(training, source.classes, "data.validation_fraction", validation_fraction)
        train, validation = _cut(training, validation_fraction, validation_state)
    return Splits(train=train, validation=validation, test=test)


def channel_statistics(labelled: Labelled) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, as fractions of 255.

    Sums are of integers, so the result is exact and the order of the images does not matter. The
    standard deviation is at least one grey level, so a division by it is safe.
    """
    levels = np.arange(256)
    histograms = np.zeros((labelled.images.shape[-1], 256), np.int64)
    for image in chain.from_iterable(labelled.chunks()):
        # One at a time: bincount makes 8 bytes of every pixel.
        for channel in range(image.shape[-1]):
            histograms[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
    mean, std = [], []
    for histogram in histograms:
        count, total = int(histogram.sum()), int(histogram @ levels)
        squares = int(histogram @ levels**2)
        mean.append(total / count / 255)
        std.append(max(1.0, sqrt(count * squares - total**2) / count) / 255)
    return tuple(mean), tuple(std)


def _require_enough(
    labelled: Labelled, classes: tuple[str, ...], name: str, fraction: float
) -> None:
    """Raise DataError if a class is too small to cut off one image and keep two.

    The margin is for scikit-learn's rounding, which gives each class its share within one image.
    """
    least = max(ceil(1 / fraction), ceil(2 / (1 - fraction)))
    for label, count in enumerate(np.bincount(labelled.labels, minlength=len(classes))):
        if count < least:
            raise DataError(
                f"class '{classes[label]}': {count} images are too few to split by"
                f" {name} {fraction:g}; at least {least} of each class are needed there"
            )


def _cut(labelled: Labelled, fraction: float, state: int) -> tuple[Labelled, Labelled]:
    """Return the rest, and the part that was cut off."""
    # Imported here: it takes a second, and every stage that reads the splits imports this module.
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    rest, part = train_test_split(
        np.arange(len(labelled)), test_size=fraction, stratify=labelled.labels, random_state=state
    )
    return labelled.take(rest), labelled.take(part)


def _shuffled(labelled: Labelled, state: int) -> Labelled:
    return labelled.take(np.random.default_rng(state).permutation(len(labelled)))
