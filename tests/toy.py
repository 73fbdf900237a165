"""A small project with which to test the runner: real DVC and Git, stages that take a moment.

Its `params.yaml` is the project's own; its stages do as the environment variable TOY says.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

STAGE = """
import json, os, signal, sys, time
from pathlib import Path
from ruamel.yaml import YAML

name, out = sys.argv[1], Path("artifacts") / sys.argv[1]
behaviour = json.loads(os.environ.get("TOY", "{}")).get(name, {})
if log := os.environ.get("TOY_LOG"):
    with open(log, "a") as file:
        print(name, file=file)
if behaviour.get("stubborn"):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    def interrupted(*_):
        Path(os.environ["TOY_LOG"] + ".resume").write_text(name)
        sys.exit("interrupted")
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
print(f"{name}: hello", os.environ.get("MY_TOKEN", ""))
print(f"{name}: a warning", file=sys.stderr)
params = YAML(typ="safe").load(Path("params.yaml").read_text())
out.mkdir(parents=True, exist_ok=True)
distance = abs(params["search"]["arch_update_freq"] - 5) / 10
if name in ("warmup", "search"):
    progress = Path(".aso-se/progress") / f"{name}.tsv"
    progress.parent.mkdir(parents=True, exist_ok=True)
    rows = ["epoch\\tvalidation_accuracy"]
    frequency = params["search"]["arch_update_freq"]
    point = Path(os.environ.get("ASO_SE_RESUME", ".aso-se/resume")) / f"{name}-{frequency}"
    done = int(point.read_text()) if point.exists() else 0
    for epoch in range(1, 3):
        rows.append(f"{epoch}\\t{epoch / 2 - distance}")
        partial = progress.with_suffix(".partial")
        partial.write_text("\\n".join(rows) + "\\n")
        partial.replace(progress)
        print(f"{name} {epoch}/2: an epoch")
        if epoch <= done:
            continue
        time.sleep(behaviour.get("seconds", 0))
        if behaviour.get("resumes"):
            point.write_text(str(epoch))
            with open(os.environ["TOY_LOG"] + ".epochs", "a") as file:
                print(name, frequency, epoch, file=file)
if "code" in behaviour:
    once = Path(os.environ["TOY_LOG"] + ".failed")
    if not (behaviour.get("once") and once.exists()):
        once.touch()
        print(behaviour["says"], file=sys.stderr)
        print(behaviour.get("after", ""), end="")
        sys.exit(behaviour["code"])
metrics = {"validation_accuracy": 1 - distance, "name": name}
(out / "metrics.json").write_text(json.dumps(metrics))
kind = behaviour.get("kind", "")
(out / "result.txt").write_text(f"{name}{kind} {params[name]}" if name in params else name)
if name == "prepare":
    (out / "dataset.json").write_text(json.dumps({"sha256": {"test": "the test images"}}))
if name == "export":
    metrics = {"test_accuracy": 1 - distance, "onnx_bytes": int(10_000 * (1 - distance))}
    (out / "metrics.json").write_text(json.dumps(metrics))
    (out / "model.onnx").write_text(f"a model of {distance}")
    (out / "model_card.md").write_text("---\\nlicense: mit\\n---\\n# A model\\n")
    (out / "cell.svg").write_text("<svg/>")
"""

DVC = """
stages:
  prepare:
    desc: The first
    cmd: python toy_stage.py prepare
    params: [seed]
    deps: [toy_stage.py]
    outs: [artifacts/prepare/result.txt, artifacts/prepare/dataset.json]
    metrics: [artifacts/prepare/metrics.json: {cache: false}]
  warmup:
    cmd: python toy_stage.py warmup
    params: [warmup]
    deps: [artifacts/prepare/result.txt]
    outs: [artifacts/warmup/result.txt]
    metrics: [artifacts/warmup/metrics.json: {cache: false}]
  search:
    cmd: python toy_stage.py search
    params: [search]
    deps: [artifacts/warmup/result.txt]
    outs: [artifacts/search/result.txt]
    metrics: [artifacts/search/metrics.json: {cache: false}]
  export:
    cmd: python toy_stage.py export
    params: [export]
    deps: [artifacts/search/result.txt]
    outs:
      - artifacts/export/result.txt
      - artifacts/export/model.onnx
      - artifacts/export/model_card.md
      - artifacts/export/cell.svg
    metrics: [artifacts/export/metrics.json: {cache: false}]
"""
STAGES = ["prepare", "warmup", "search", "export"]


class Toy:
    """A project of four stages in a Git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "ran.log"

    @classmethod
    def make(cls, folder: Path) -> "Toy":
        """Make a project in which no stage has run."""
        (folder / "profiles").mkdir(parents=True)
        (folder / "toy_stage.py").write_text(STAGE)
        (folder / "dvc.yaml").write_text(DVC)
        (folder / ".gitignore").write_text("/.aso-se/\n/registered/\n/params.yaml.before\n")
        text = (ROOT / "params.yaml").read_text().replace("epochs: 15", "epochs: 2")
        text = text.replace("skip_epochs: 3", "skip_epochs: 1").replace("epochs: 12", "epochs: 2")
        (folder / "params.yaml").write_text(text)
        shutil.copyfile(ROOT / "profiles/cifar10.yaml", folder / "profiles/cifar10.yaml")
        toy = cls(folder)
        toy.run("git", "init", "--quiet", "--initial-branch=main")
        toy.dvc("init", "--quiet")
        toy.commit("a toy")
        return toy

    def copy(self, folder: Path) -> "Toy":
        """Return a copy of the project, including its cache."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Toy(folder)

    def run(self, *command: str) -> str:
        """Run a command in the project; return what it printed; fail where it does."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_NO_ANALYTICS": "1",
            "TOY_LOG": str(self.log),
        }

    def commit(self, message: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        self.run("git", "add", "--all")
        self.run("git", *identity, "commit", "--quiet", "--message", message)

    def ran(self) -> list[str]:
        """Return the stages that ran since the last call, in order."""
        found = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found

    def edit(self, old: str, new: str) -> None:
        """Replace text of `params.yaml`."""
        path = self.folder / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def behave(**stages: dict[str, object]) -> str:
    """Return a value of TOY, which tells the stages what to do."""
    return json.dumps(stages)
