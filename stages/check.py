"""Check: validate all of `params.yaml` before anything is computed.

It imports no torch and takes a third of a second.

    python -m stages.check artifacts/check

Every stage depends on its constant output, so that a mistake in any section, even in its name,
never passes as "up to date".
"""

from pathlib import Path

from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import PARAMS_FILE, read_params
from pipeline.params import Params


def main(_params: Params, out: Path) -> None:
    """Validate every section."""
    read_params(Params, PARAMS_FILE, whole=True)
    write_atomically(out / "params.txt", b"valid\n")
    say(f"check: {PARAMS_FILE} is valid")


if __name__ == "__main__":
    run_stage(Params, main)
