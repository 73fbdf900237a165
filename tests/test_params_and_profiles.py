"""`params.yaml` and every profile is valid; every kind of mistake in it is one line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import choose_profile
from pipeline.harness.errors import ParamsError
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import read_params
from pipeline.harness.section import Section
from pipeline.params import Params
from pipeline.profiles import read_profile
from pipeline.running.overrides import compose
from stages import warmup

ROOT = Path(__file__).resolve().parents[1]
GOOD = (ROOT / "params.yaml").read_text()


def edited(section: str, key: str, value: str) -> str:
    """Return params.yaml with another value, or other text, for one key of a section."""
    pattern = rf"(^{section}:\n(?:  .*\n)*?)  {key}:.*\n(?:  - .*\n)*"
    text, count = re.subn(pattern, rf"\g<1>  {value}\n", GOOD, flags=re.MULTILINE)
    assert count == 1
    return text


def without(section: str) -> str:
    text, count = re.subn(rf"^{section}:\n(?:  .*\n|\n)*", "", GOOD, flags=re.MULTILINE)
    assert count == 1
    return text


def aso_se(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_defaults_are_params_yaml() -> None:
    assert read_params(Params, ROOT / "params.yaml", whole=True) == Params()


@pytest.mark.parametrize(
    ("text", "key", "rest"),
    [
        (
            edited("search", "arch_reach", "arch_reach: 10.0\n  arch_reech: 1"),
            "search.arch_reech",
            "unknown key; did you mean 'arch_reach'?",
        ),
        (
            edited("search", "arch_reach", "arch_reech: 10.0"),
            "search.arch_reech",
            "unknown key; did you mean 'arch_reach'?",
        ),
        (
            edited("export", "max_difference", "max_difference: 1e-4\n  quantise: true"),
            "export.quantise",
            "unknown key; known here: max_difference, any_size, int8, half, accuracy_tolerance",
        ),
        (GOOD + "traning:\n  epochs: 3\n", "traning", "unknown key; did you mean 'training'?"),
        (GOOD + "arch_reach: 3\n", "arch_reach", "unknown key; did you mean 'search.arch_reach'?"),
        (without("growth"), "growth", "missing; add the section with its keys: "),
        (without("growth") + "growth:\n", "growth", "expected a section with keys, got None"),
        (
            edited("training", "momentum", ""),
            "training.momentum",
            "missing; add 'momentum: 0.9'",
        ),
        (
            edited("warmup", "epochs", "epochs: twelve"),
            "warmup.epochs",
            "expected a valid integer, got 'twelve'",
        ),
        (
            edited("warmup", "epochs", "epochs: true"),
            "warmup.epochs",
            "expected a valid integer, got True",
        ),
        (
            edited("training", "momentum", "momentum: 1.0"),
            "training.momentum",
            "expected less than 1, got 1.0",
        ),
        (edited("data", "name", "name: cifar11"), "data.name", "expected 'digits', 'cifar10', "),
        (edited("network", "cells", "cells: .inf"), "network.cells", "got inf"),
        (
            edited("search", "anneal_rate", "anneal_rate: automatic"),
            "search.anneal_rate",
            "'auto', got 'automatic'",
        ),
        (
            edited("search", "arch_learning_rate", "arch_learning_rate: -1"),
            "search.arch_learning_rate",
            "got -1",
        ),
        (
            edited("growth", "kinds", "kinds: [deepen, shrink]"),
            "growth.kinds.1",
            "expected 'deepen', 'widen', 'node' or 'mutate', got 'shrink'",
        ),
        (
            edited("growth", "kinds", "kinds: [deepen, deepen]"),
            "growth.kinds",
            "each may appear only once",
        ),
        (
            edited("search", "temperature_end", "temperature_end: 5.0"),
            "search.temperature_end",
            "5.0 is above temperature 2.0",
        ),
        (edited("warmup", "skip_epochs", "skip_epochs: 99"), "warmup.skip_epochs", "99 of "),
        (
            edited("network", "operations", "operations: [none, conv_1x1]"),
            "network.operations",
            "skip_connect must be among them",
        ),
        (
            edited("growth", "max_cells", "max_cells: 3").replace("  cells: 3", "  cells: 4"),
            "growth.max_cells",
            "3 is below network.cells 4",
        ),
        (
            edited("growth", "max_channels", "max_channels: 4"),
            "growth.max_channels",
            "4 is below network.channels ",
        ),
        (
            edited("augmentation", "crop_padding", "crop_padding: 8"),
            "augmentation.crop_padding",
            "8 pixels of padding on images of 8",
        ),
        (without("search") + "search:\n", "search", "got None"),
        (without("search") + "search: 3\n", "search", "got 3"),
        (GOOD + "seed: 43\n", r"line \d+", "not YAML: duplicate key 'seed'"),
        (GOOD + "search: [\n", r"line \d+", "not YAML"),
        ("- digits\n", "", "expected sections such as 'network:', got list"),
    ],
)
def test_a_mistake_gives_one_line_that_names_file_key_expectation_and_value(
    text: str, key: str, rest: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as refused:
        read_params(Params, path, whole=True)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}: ")
    found = line.removeprefix(f"{path}: ")
    assert re.match(rf"{key}: " if key else "", found)
    assert rest in found


NASBENCH201 = read_profile(ROOT, "nasbench201")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "  - nor_conv_1x1",
            "  - sep_conv_3x3",
            "operations: nasbench201 has no sep_conv_3x3; it has none, skip_connect, ",
        ),
        ("space: nasbench201", "space: darts", "operations: darts has no nor_conv_1x1; it has "),
        ("  - skip_connect\n", "", "operations: skip_connect must be among them"),
        ("nodes: 3", "nodes: 4", "nodes: expected 3 in nasbench201, got 4"),
        (
            "stem_multiplier: 1",
            "stem_multiplier: 3",
            "stem_multiplier: expected 1 in nasbench201, got 3",
        ),
        (
            "edges_per_node: 3",
            "edges_per_node: 2",
            "edges_per_node: expected 3 in nasbench201, got 2",
        ),
        ("\n  cells: 15", "\n  cells: 8", "cells: expected a multiple of 3 in nasbench201, "),
        ("space: nasbench201", "space: nasbench", "space: expected 'darts', "),
    ],
)
def test_what_a_search_space_does_not_have_is_one_line_that_names_the_key(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    assert NASBENCH201.count(old) == 1
    path.write_text(NASBENCH201.replace(old, new))
    models: list[tuple[type[Section], bool]] = [(Params, True)]
    if "edges_per_node" not in line:
        models.append((warmup.Params, False))  # the stage that builds the supernet refuses it too
    for model, whole in models:
        with pytest.raises(ParamsError) as refused:
            read_params(model, path, whole=whole)
        (found,) = str(refused.value).splitlines()
        assert found.startswith(f"{path}: network.{line}")


def test_fewer_candidates_than_the_published_ones_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(NASBENCH201.replace("  - avg_pool_3x3\n", ""))
    read_params(Params, path, whole=True)


def test_a_missing_file_gives_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"no such file; 'aso-se profile digits'") as refused:
        read_params(Params, tmp_path / "params.yaml", whole=True)
    assert len(str(refused.value).splitlines()) == 1


def test_the_command_line_checks_params_and_chooses_profiles(tmp_path: Path) -> None:
    for name in ("pipeline", "profiles"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    chosen = aso_se(tmp_path, "profile", "cifar10")
    assert (chosen.returncode, chosen.stderr) == (0, "")
    assert (tmp_path / "params.yaml").read_text() == read_profile(ROOT, "cifar10")
    assert aso_se(tmp_path, "check").returncode == 0
    assert aso_se(tmp_path, "check", "profiles/cifar10.yaml").returncode == 0
    (tmp_path / "params.yaml").write_text(edited("warmup", "epochs", "epochs: true"))
    refused = aso_se(tmp_path, "check")
    expected = "params.yaml: warmup.epochs: expected a valid integer, got True\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", expected)
    by_hand = (tmp_path / "params.yaml").read_bytes()
    assert aso_se(tmp_path, "profile", "digits").returncode == 0
    assert (tmp_path / "params.yaml.before").read_bytes() == by_hand
    assert aso_se(tmp_path, "profile", "cifar10").returncode == 0
    assert (tmp_path / "params.yaml.before").read_bytes() == by_hand
    (tmp_path / "params.yaml").write_text("another: edit\n")
    assert "params.yaml.before2: copy of your own" in aso_se(tmp_path, "profile", "digits").stdout
    assert (tmp_path / "params.yaml.before").read_bytes() == by_hand
    assert (tmp_path / "params.yaml.before2").read_text() == "another: edit\n"
    unknown = aso_se(tmp_path, "profile", "mnist")
    assert unknown.returncode == 1
    assert "profiles/mnist.yaml: no such profile; there are: cifar10, " in unknown.stderr


def test_a_profile_outside_a_clone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"^profiles: no such folder; run this in a clone"):
        choose_profile("digits")


def test_a_kill_while_a_profile_is_chosen_leaves_a_whole_params_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("by hand")
    there = []

    def write(path: Path, content: bytes) -> None:
        there.append((tmp_path / "params.yaml").read_text())
        write_atomically(path, content)

    monkeypatch.setattr("pipeline.running.params_file.write_atomically", write)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    choose_profile("digits")
    assert there == ["by hand", "by hand"]
    assert (tmp_path / "params.yaml.before").read_text() == "by hand"


def test_a_layer_without_a_choice_is_refused() -> None:
    changes = {"network.operations": ["skip_connect"], "growth.max_channels": 24}
    with pytest.raises(ParamsError, match=r"network\.operations: a choice needs at least 2"):
        compose(ROOT, "image_folder", changes)


def test_finalists_and_rules_that_change_their_architecture_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"search\.finalists: finalists keep what the search"):
        compose(ROOT, "nasbench201", {"search.finalists": 4})
    compose(ROOT, "nasbench201", {"search.finalists": 4, "network.max_skips": None})


def test_an_auxiliary_skip_is_refused_where_every_layer_has_one() -> None:
    with pytest.raises(ParamsError, match=r"training\.auxiliary_skip: expected 0 in residual"):
        compose(ROOT, "image_folder", {"training.auxiliary_skip": 0.5})
