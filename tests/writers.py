"""Two stages that write as the real ones do, after which a test can put older files back."""

import json

from tests.toy import Toy

STAGES = """
  one:
    cmd: exec python written.py params.yaml artifacts/one
    deps: [written.py]
    params: [seed]
    outs: [artifacts/one/result, artifacts/one/folder]
    metrics: [artifacts/one/metrics.json: {cache: false}]
  two:
    cmd: exec python written.py artifacts/one artifacts/two
    deps: [written.py, artifacts/one/result]
    outs: [artifacts/two/result, artifacts/two/folder]
"""
WRITTEN = """
import atexit, json, shutil
from pathlib import Path
from pipeline.console.stage import run_stage
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_json
from pipeline.harness.section import Section, Seed

class Params(Section):
    seed: Seed

def main(params: Params, source: Path, out: Path) -> None:
    with open("ran", "a") as file:
        print(out.name, file=file)
    text = (source / "result").read_text() if source.is_dir() else f"seed {params.seed}"
    write_atomically(out / "result", f"{text} {out.name}".encode())
    write_atomically(out / "folder/of/a", text.encode())
    write_json(out / "metrics.json", {"seed": params.seed})
    put_back = json.loads(Path("put_back").read_text()).get(out.name, {})
    for name, content in put_back.items():  # after the stage has ended, before DVC hashes it
        atexit.register(Path(name).write_text, content)

run_stage(Params, main)
"""


def add_writers(toy: Toy) -> None:
    """Add the stages `one` and `two` to a project; the environment needs PYTHONPATH=ROOT."""
    with (toy.folder / "dvc.yaml").open("a") as file:
        file.write(STAGES)
    (toy.folder / "written.py").write_text(WRITTEN)
    with (toy.folder / ".gitignore").open("a") as file:
        file.write("/put_back\n/ran\n")
    put_back(toy)


def put_back(toy: Toy, **files: dict[str, str]) -> None:
    """Say which files another command replaces as soon as a stage has ended."""
    (toy.folder / "put_back").write_text(json.dumps(files))


def ran(toy: Toy) -> list[str]:
    """Return the stages that ran since the last call."""
    path = toy.folder / "ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found
