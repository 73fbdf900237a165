"""What is said about the number of images of each class."""

from collections.abc import Iterator, Sequence

LISTED = 12
"""Largest number of classes whose counts are all named."""
NAMED = 5
"""Largest number of small classes that the warning names."""
FEW = 20
"""Number of images of a class below which a warning is printed."""
UNEQUAL = 10
"""Largest class, as a multiple of the smallest, above which a warning is printed."""


def count_lines(classes: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    """Yield a line with the number of images of each class, and a line for each warning."""
    ranked = sorted(zip(counts, classes, strict=True))
    (least, rarest), (most, commonest) = ranked[0], ranked[-1]
    if len(classes) <= LISTED:
        listed = ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
        yield f"training images: {listed}"
    else:
        yield (
            f"training images: {sum(counts)} of {len(classes)} classes,"
            f" from {least} ({rarest}) to {most} ({commonest})"
        )
    few = [f"{name} {count}" for count, name in ranked if count < FEW]
    if few:
        named = ", ".join(few[:NAMED]) + (", ..." if len(few) > NAMED else "")
        yield f"warning: classes with fewer than {FEW} training images: {len(few)} ({named})"
    if most > UNEQUAL * least:
        yield (
            f"warning: {commonest} has {most / least:.0f} times as many training images"
            f" as {rarest}; with optimize.balance 0.5, {rarest} counts more"
        )
