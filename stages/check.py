"""Check: validate all of `params.yaml` before anything is computed.

It imports no torch and takes a third of a second.

    python -m stages.check artifacts/check

`prepare` depends on its constant output, and all others follow `prepare`: a mistake in any section,
even in its name, stops the run, and a good edit reruns only what it touches. The report reads the
defaults of all params, to mark what differs.
"""

from pathlib import Path

from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.costing.latency import FILE, read_latency
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.records import write_json
from pipeline.params import Params


def main(params: Params, out: Path) -> None:
    """Say that all of it is valid, as `run_stage` has found, and that its files can be used."""
    if params.target.milliseconds is not None:
        read_latency(FILE).require_any()
    if params.optimize.teacher is not None:
        from pipeline.optimizing.teacher import read_teacher  # noqa: PLC0415 - takes 0.2 s

        side = params.data.image_size
        read_teacher(params.optimize.teacher).require_size(side, side)
    write_atomically(out / "params.txt", b"valid\n")
    write_json(out / "defaults.json", Params().model_dump(mode="json"))
    say(f"check: {PARAMS_FILE} is valid")


if __name__ == "__main__":
    run_stage(Params, main, whole=True)
