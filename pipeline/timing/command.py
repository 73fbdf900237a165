"""`aso-se latency`: measure on this machine what the parts of networks take, for `target`."""

import platform
from collections.abc import Iterator
from pathlib import Path

import onnxruntime

from pipeline.console.progress import say
from pipeline.costing.latency import FILE, key
from pipeline.costing.parts import Part, parts_of
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import grown, has_room
from pipeline.harness.params_file import PARAMS_FILE, read_params
from pipeline.harness.places import LOCK
from pipeline.harness.records import write_json
from pipeline.locking.lock import hold, signature
from pipeline.params import Params
from pipeline.planning.images import prepared
from pipeline.prepared.facts import read_facts
from pipeline.running.front import refuse
from pipeline.space.blueprint import Blueprint, plan
from pipeline.timing.measuring import measure

CPU_FACTS = Path("/proc/cpuinfo")
STEPS = 10
"""Number of lines that are printed while parts are measured."""


def write_latency(tree: Path) -> int:
    """Measure every part that the params allow, and write the table; return 0.

    Raises:
        ParamsError: `params.yaml` is missing or invalid.
        DataError: the images cannot be prepared or read.
        RunError: another run uses the tree.
    """
    params = read_params(Params, tree / PARAMS_FILE, whole=True)
    with hold(tree / LOCK, signature("aso-se latency"), waiting=refuse):
        with prepared(tree) as images:
            facts = read_facts(images)
        start = plan(
            params.network,
            image_channels=facts.channels,
            classes=len(facts.classes),
            image_size=max(facts.height, facts.width),
        )
        parts = sorted(
            {
                part
                for blueprint in reachable(start, params.growth)
                for part in parts_in(blueprint, (facts.height, facts.width))
            }
        )
        say(f"latency: {len(parts)} parts of networks, one by one, on one thread")

        def tell(done: int) -> None:
            if done % max(1, len(parts) // STEPS) == 0:
                say(f"latency: {done} of {len(parts)}")

        found = measure(parts, start.space, tell=tell)
        table = {key(part, start.space): milliseconds for part, milliseconds in found.items()}
        write_json(tree / FILE, {"machine": machine(), "milliseconds": table})
    say(f"{FILE}: {len(parts)} parts on {machine()}; set target.milliseconds and run 'aso-se run'")
    return 0


def reachable(start: Blueprint, params: GrowthParams) -> Iterator[Blueprint]:
    """Yield the blueprints that growth can lead to, the first one included.

    A blueprint that differs from another only in the order of growths is yielded once.
    """
    seen, waiting = set(), [start]
    while waiting:
        blueprint = waiting.pop()
        if blueprint in seen or not has_room(blueprint, params):
            continue
        seen.add(blueprint)
        yield blueprint
        waiting += [grown(blueprint, kind, params) for kind in params.kinds]


def parts_in(blueprint: Blueprint, image_size: tuple[int, int]) -> Iterator[Part]:
    """Yield all parts of a supernet."""
    found = parts_of(blueprint, image_size)
    yield from found.fixed
    for parts in found.choices.values():
        yield from parts


def machine() -> str:
    """Return the processor and the runtime, in words."""
    names = [
        line.partition(":")[2].strip()
        for line in (
            CPU_FACTS.read_text(encoding="utf-8").splitlines() if CPU_FACTS.exists() else []
        )
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, ONNX Runtime {onnxruntime.__version__}"
