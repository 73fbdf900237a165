"""`aso-se` as a whole: its help, misspelt words, and what a command imports before it begins."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from typer.main import get_group

from pipeline.__main__ import app, main

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = get_group(app).commands
HEAVY = {"matplotlib", "onnxruntime", "optuna", "prefect", "psutil", "torch", "typer.rich_utils"}

AsoSe = Callable[..., tuple[object, str, str]]


@pytest.fixture
def aso_se(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> AsoSe:
    """Run a command; return its exit code and what it wrote to stdout and to stderr."""

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["python -m pipeline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_without_a_command_it_shows_the_help_as_for_a_wrong_command_line(aso_se: AsoSe) -> None:
    code, shown, _ = aso_se("--help")
    assert code == 0
    assert shown.startswith("Usage: aso-se ")
    assert aso_se() == (2, "", shown)


def test_the_version_is_that_of_the_project(aso_se: AsoSe) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert aso_se("--version") == (0, f"aso-se {project['version']}\n", "")


def test_the_overview_has_one_whole_line_for_each_command(
    aso_se: AsoSe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, shown, _ = aso_se("--help")
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_explains_every_argument_and_option(name: str, aso_se: AsoSe) -> None:
    code, shown, errors = aso_se(name, "--help")
    assert (code, errors) == (0, "")
    assert aso_se(name, "-h") == (0, shown, "")
    words = " ".join(shown.split())
    command = COMMANDS[name]
    for text in [command.help, *(one.help for one in command.params)]:
        assert text
        assert " ".join(text.split()) in words


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean 'status'?"),
        (["--verison"], "--version"),
        (["run", "--froce"], "--force"),
        (["sweep", "search.epochs=3", "--max-paralel", "2"], "--max-parallel"),
        (["try", "search.epochs=3", "--nam", "one"], "--name"),
        (["predict", "model.onnx", "photo.jpg", "--jsn"], "--json"),
    ],
)
def test_a_misspelt_word_gets_a_suggestion_in_a_few_plain_lines(
    words: list[str], meant: str, aso_se: AsoSe
) -> None:
    code, shown, errors = aso_se(*words)
    assert (code, shown) == (2, "")
    assert errors.isascii()
    assert meant in errors.splitlines()[-1]
    assert errors.count("\n") <= 4


@pytest.mark.parametrize(
    "words",
    [
        *(["profile"], ["predict", "model.onnx"], ["sweep"], ["check", "a", "b"], ["serve", "a"]),
        *(["try", "seed=1"], ["try", "--name", "one"], ["apply"], ["publish"], ["demo", "a", "b"]),
    ],
)
def test_a_missing_word_or_one_too_many_is_a_wrong_command_line(
    words: list[str], aso_se: AsoSe
) -> None:
    code, shown, errors = aso_se(*words)
    assert (code, shown) == (2, "")
    assert f"Try 'aso-se {words[0]} --help' for help." in errors


@pytest.mark.parametrize(
    "words",
    [["--help"], ["check"], ["compare"], ["demo", "no.onnx"], ["sweep", "--help"], ["statsu"]],
)
def test_a_quick_answer_imports_nothing_heavy(words: list[str]) -> None:
    program = "import atexit, sys; from pipeline.__main__ import main\n"
    program += f"sys.argv[1:] = {words!r}\n"
    program += f"atexit.register(lambda: print(sorted({HEAVY!r} & sys.modules.keys())))\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_an_interrupted_command_says_nothing_and_may_be_run_again(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    os.mkfifo(params)
    # A shell that runs the tests in the background has them ignore SIGINT.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pipeline.__main__ import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "check", str(params)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    writer = None
    while writer is None:
        assert process.poll() is None
        with suppress(OSError):  # until the command reads
            writer = os.open(params, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    os.close(writer)
    assert (process.returncode, output) == (75, "")
