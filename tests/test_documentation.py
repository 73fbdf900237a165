"""Every command that the documents show exists, with these options and these params."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ruamel.yaml import YAML
from torch import nn
from torch.distributed.run import get_args_parser
from typer.main import get_group

from pipeline.__main__ import app
from pipeline.documenting import schema
from pipeline.exporting.card import model_json
from pipeline.exporting.golden import FOLDER, golden_vectors
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.harness.files import write_atomically
from pipeline.params import Params
from pipeline.referencing.kinds import KINDS
from pipeline.training.stability import HEALTH

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "data" / "README.md",
]
SHELL = {"source", "export", "mkdir", "git"}
"""Commands of the shell and Git, which are not checked."""
SECTIONS = Params.model_fields.keys() - {"seed"}
LINE = 120
"""Number of characters below which a line of a document stays."""
WRAPPED = [path for path in DOCUMENTS if path.parent != ROOT / "data"]
"""All but the page in `data/`: DVC hashes that folder, so a new line break there reruns prepare."""

DVC = """
import json, sys
from dvc.cli.parser import get_main_parser

for words in json.load(sys.stdin):
    get_main_parser().parse_args(words)
"""
PREFECT = """
import json, sys
from prefect.cli._app import _app as app

for words in json.load(sys.stdin):
    app.meta.parse_args(words, exit_on_error=False)
    app.parse_args([word for word in words if word != "--no-prompt"], exit_on_error=False)
"""


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """Yield each fenced block of a language with the document that it stands in."""
    for path in DOCUMENTS:
        for text in re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.DOTALL):
            yield path, text


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block of bash: where it stands, its words without assignments."""
    for path, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                while command and re.match(r"[A-Z_]+=", command[0]):
                    command = command[1:]
                if command:
                    yield f"{path.relative_to(ROOT)}: {line.strip()}", command


COMMANDS = list(commands())


def of(program: str) -> list[tuple[str, list[str]]]:
    found = [(where, words[1:]) for where, words in COMMANDS if words[0] == program]
    assert found, f"no document shows {program}"
    return found


def test_every_command_is_of_a_program_that_is_checked_here() -> None:
    known = {"aso-se", "make", "dvc", "prefect", "python", "torchrun", *SHELL}
    assert not {where for where, words in COMMANDS if words[0] not in known}


@pytest.mark.parametrize(("where", "words"), of("aso-se"), ids=str)
def test_aso_se_knows_the_command_and_its_options(where: str, words: list[str]) -> None:
    command = get_group(app).commands[words[0]]
    arguments = command.make_context(words[0], words[1:]).params
    if words[0] == "profile":
        assert (ROOT / "profiles" / f"{arguments['name']}.yaml").is_file(), where


@pytest.mark.parametrize(("where", "words"), of("make"), ids=str)
def test_make_knows_the_target(where: str, words: list[str]) -> None:
    command = ["make", "--dry-run", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}\n{done.stderr}"


@pytest.mark.parametrize(("program", "parse"), [("dvc", DVC), ("prefect", PREFECT)])
def test_dvc_and_prefect_know_the_command_and_its_options(program: str, parse: str) -> None:
    shown = [words for _, words in of(program)]
    done = subprocess.run(
        [sys.executable, "-c", parse],
        input=json.dumps(shown),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shown}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("where", "words"), of("python"), ids=str)
def test_python_finds_the_module_or_the_file(where: str, words: list[str]) -> None:
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), where
    elif words[1].startswith("stages."):
        paths = list(importlib.import_module(words[1]).main.__annotations__)[1:-1]
        assert len(words[2:]) == len(paths), f"{where}: it wants {paths}"
    else:
        assert importlib.util.find_spec(words[1]), where
        assert all((ROOT / word).exists() for word in words[2:] if "/" in word), where


@pytest.mark.parametrize(("where", "words"), of("torchrun"), ids=str)
def test_torchrun_knows_the_options_and_finds_the_stage(where: str, words: list[str]) -> None:
    given = get_args_parser().parse_args(words)
    assert given.module
    test_python_finds_the_module_or_the_file(
        where, ["-m", given.training_script, *given.training_script_args]
    )


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=str)
def test_a_param_that_a_command_names_is_one(where: str, words: list[str]) -> None:
    known = json.loads(schema())["$defs"]
    for section, key in re.findall(r"(?<![\w./-])(\w+)\.(\w+)\W*[=:]", " ".join(words)):
        assert section in SECTIONS, where
        owner = known[f"{section.capitalize()}Params"]
        assert key in owner["properties"], where


def test_what_the_documents_check_and_choose_runs(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pipeline", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    cheap = [words for _, words in of("aso-se") if words[0] in {"check", "profile"}]
    assert {words[0] for words in cheap} == {"check", "profile"}
    for words in cheap:
        command = [sys.executable, "-m", "pipeline", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which artifacts/export holds a model of grey 8x8 images."""
    facts = ModelFacts(
        classes=tuple("0123456789"),
        height=8,
        width=8,
        channels=1,
        mean=(0.5,),
        std=(0.5,),
        genotype={},
        digests={},
    )
    exported = export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), facts)
    folder = tmp_path_factory.mktemp("model")
    files = {"model.onnx": exported, "model.json": model_json(facts).encode()}
    files |= {f"{FOLDER}/{name}": text for name, text in golden_vectors(exported, facts).items()}
    for name, content in files.items():
        write_atomically(folder / "artifacts/export" / name, content)
    return folder


def test_the_programs_of_the_documents_run_beside_a_model(export: Path) -> None:
    others = {"add-your-own.md", "from-python.md"}  # which have tests of their own
    programs = [one for one in blocks("python") if one[0].name not in others]
    assert len(programs) > 1
    for path, program in programs:
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(command, cwd=export, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), path


@pytest.mark.slow
def test_the_program_in_javascript_names_the_class_that_python_does(export: Path) -> None:
    """Installs a package of npm: it wants node and a network."""
    [(_, program)] = blocks("javascript")
    folder = export / "artifacts/export"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    (folder / "pixels.bin").write_bytes(pixels.tobytes())
    (folder / "classify.mjs").write_text(program)
    install = ["npm", "install", "--ignore-scripts", "--silent", "onnxruntime-node"]
    subprocess.run(install, cwd=folder, check=True)
    done = subprocess.run(
        ["node", "classify.mjs"], cwd=folder, capture_output=True, text=True, check=True
    )
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    [expected] = session.run(["probabilities"], {"images": pixels})[0]
    name, probability = done.stdout.split()
    assert int(name) == expected.argmax()
    assert float(probability) == pytest.approx(expected.max(), abs=1e-4)


def test_the_citation_is_of_this_version_and_of_the_papers_that_the_method_names() -> None:
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    [author] = citation["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text()

    method = (ROOT / "docs" / "method.md").read_text()
    cited = method[method.index("## How to cite") :]
    items = [" ".join(item.split()) for item in cited.split("\n- ")[1:]]
    papers = {paper["url"]: paper for paper in citation["references"]}
    assert papers.keys() == set(re.findall(r"\((https://[^)]*)\)", cited))
    for url, paper in papers.items():
        [item] = [item for item in items if url in item]
        names = ", ".join(author["family-names"] for author in paper["authors"])
        assert f"{names}: [{paper['title']}]" in item
        assert item.endswith(f" {paper['year']}")


def test_the_readme_is_short_and_its_figures_are_those_of_the_committed_run() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 900
    derived, compared = (
        json.loads((ROOT / "artifacts" / stage / "metrics.json").read_text())
        for stage in ("derive", "reference")
    )
    accuracy, low, high = (
        f"{derived[f'test_accuracy{bound}']:.1%}" for bound in ("", "_low", "_high")
    )
    interval = f"95 % interval {low} to {high}"
    assert f"test accuracy {accuracy} of {derived['test_images']} images ({interval})" in readme
    best = compared["best"]
    assert f", {KINDS[best].title} ({compared[best]:.1%})" in readme
    assert f"p = {compared['p_value']:.2g}." in readme


def test_every_link_to_a_file_of_the_project_leads_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def anchors(path: Path) -> set[str]:
    """Return the fragments by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_link_to_a_heading_finds_it() -> None:
    for path in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
            assert anchor in anchors(path.parent / target if target else path), (path.name, anchor)


@pytest.mark.parametrize("path", WRAPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_of_a_document_is_short(path: Path) -> None:
    long = [line for line in path.read_text().splitlines() if len(line) >= LINE]
    assert not long, f"{path.name}: break these before {LINE} characters"


def test_the_log_is_dated_newest_first() -> None:
    log = (ROOT / "docs" / "log.md").read_text()
    headings = re.findall(r"^## (.*)$", log, flags=re.MULTILINE)
    dates = [date.fromisoformat(heading.split()[0]) for heading in headings]
    assert dates
    assert dates == sorted(dates, reverse=True)


def test_every_column_and_metric_is_explained() -> None:
    explained = set(re.findall(r"`([\w<>]+)`", (ROOT / "docs" / "metrics.md").read_text()))
    recorded = {
        name
        for path in (ROOT / "artifacts").glob("*/history.tsv")
        for name in path.read_text().splitlines()[0].split("\t")
    } | {
        name
        for path in (ROOT / "artifacts").glob("*/metrics.json")
        for name in json.loads(path.read_text())
    }
    assert len(recorded) > 40
    assert {re.sub("^share_.*", "share_<operation>", name) for name in recorded} <= explained
    assert {verdict for verdict in HEALTH if verdict} <= explained
