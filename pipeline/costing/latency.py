"""Milliseconds of the parts of networks, measured on the kind of machine that a network is for.

`aso-se latency` writes the file; the stages that need it depend on it, so that another file is
another result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.costing.parts import Part
from pipeline.harness.errors import ParamsError

FILE = Path("latency.json")
AGAIN = "run 'aso-se latency' on the kind of machine that the network is for"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latency:
    """Milliseconds of one image in ONNX Runtime with one thread, by the key of a part.

    machine: what they were measured on, in words.
    """

    machine: str
    milliseconds: Mapping[str, float]

    def of(self, part: Part, space: str) -> float:
        """Return the milliseconds of a part; raise ParamsError if it was not measured."""
        found = self.milliseconds.get(key(part, space))
        if found is None:
            raise ParamsError(
                f"target.milliseconds: {FILE} does not know {key(part, space)}; {AGAIN}"
            )
        return found

    def require_any(self) -> None:
        """Raise ParamsError if nothing was measured yet."""
        if not self.milliseconds:
            raise ParamsError(f"target.milliseconds: {FILE} has no measurement yet; {AGAIN}")


def key(part: Part, space: str) -> str:
    """Return what a part is called in the file, such as 'darts sep_conv_3x3 16 to 16 of 8x8'."""
    halved = ", halved" if part.stride > 1 else ""
    size = f"{part.height}x{part.width}"
    return f"{space} {part.name} {part.inputs} to {part.outputs} of {size}{halved}"


def read_latency(path: Path) -> Latency:
    """Read a file that `write_latency` wrote, or one without any part.

    Raises:
        ParamsError: it is missing or malformed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = {str(name): float(one) for name, one in document["milliseconds"].items()}
        return Latency(machine=str(document["machine"]), milliseconds=found)
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: not a table of milliseconds: {error!r}; {AGAIN}") from None
