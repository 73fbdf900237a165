"""A stage ends with a code and one line, and never with the result of code that was edited."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.console.guarding import read_records
from pipeline.harness.places import WRITTEN
from pipeline.harness.written import identity

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
from pathlib import Path

from pipeline.harness import errors, ranks
from pipeline.console.stage import run_stage
from pipeline.harness.section import Section, Seed


class Params(Section):
    seed: Seed


def main(params: Params, source: Path, out: Path) -> None:
    {body}


if __name__ == "__main__":
    run_stage(Params, main, together=True)
"""
HOSTILE = "two\\n\\x1b[2Jlines"
Stage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Run a stage with the given body in a copy of the project, from its root."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=ignored)
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "stages" / "__init__.py", tmp_path / "stages")
    (tmp_path / "params.yaml").write_text("seed: 1\nother: 1\n")

    def run(body: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "stages" / "tiny.py").write_text(RECIPE.format(body=body))
        return subprocess.run(
            [sys.executable, "-m", "stages.tiny", *(arguments or ("in", "out"))],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_stage_gets_its_params_and_its_paths(stage: Stage) -> None:
    done = stage("print(params.seed, source, out)", "artifacts/in", "artifacts/out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 artifacts/in artifacts/out\n", "")


@pytest.mark.parametrize("arguments", [("one",), ("one", "two", "three")])
def test_a_wrong_number_of_paths_is_a_wrong_command(
    stage: Stage, arguments: tuple[str, ...]
) -> None:
    done = stage("print('ran')", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: python -m stages.tiny SOURCE OUT\n"


@pytest.mark.parametrize(("error", "code"), [("DataError", 1), ("TrainingFailedError", 3)])
def test_what_a_user_can_put_right_is_one_line_and_a_code(
    stage: Stage, error: str, code: int
) -> None:
    done = stage(f"raise errors.{error}('data/cat: no images in it')")
    assert (done.returncode, done.stderr) == (code, "data/cat: no images in it\n")


def test_a_bug_of_ours_shows_its_traceback(stage: Stage) -> None:
    done = stage("raise RuntimeError('a bug')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("torch.empty(1 << 50)", r"out of memory: .*can't allocate memory.*; free some, or "),
        ("raise torch.OutOfMemoryError('CUDA out of memory.')", r"out of memory: CUDA out of "),
        ("raise MemoryError", r"out of memory: MemoryError; free some, or choose a smaller "),
        (
            "raise torch.AcceleratorError('CUDA error: gone')",
            r"the device failed: CUDA error: gone; ",
        ),
    ],
)
def test_what_memory_or_a_device_cannot_do_now_is_one_line_and_a_code_of_its_own(
    stage: Stage, error: str, line: str
) -> None:
    done = stage(f"import torch; {error}")
    assert done.returncode == 4
    assert re.fullmatch(f"{line}[^\\n]*\\n", done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_is_one_line_that_names_where_the_stage_writes(stage: Stage) -> None:
    done = stage("Path('/dev/full').write_bytes(b'too much')")
    assert (done.returncode, done.stderr) == (4, "out: No space left on device\n")


def test_a_file_that_cannot_be_opened_is_one_line_that_names_it(stage: Stage) -> None:
    done = stage("(source / 'metrics.json').read_text()")
    assert (done.returncode, done.stderr) == (1, "in/metrics.json: No such file or directory\n")


LAST = "import os, signal, time; ranks.number() == ranks.count() - 1 or time.sleep(600)"
"""Code after which only the last process continues; the others work until they are ended."""
SEVERAL = pytest.mark.parametrize("processes", ["1", "2"])


@SEVERAL
@pytest.mark.parametrize(
    ("body", "codes", "line"),
    [
        ("raise errors.TrainingFailedError('it diverged')", {3}, "it diverged\n"),
        (f"{LAST}; raise errors.TrainingFailedError('it diverged')", {3}, "it diverged\n"),
        (f"{LAST}; os.kill(os.getpid(), signal.SIGKILL)", {-9, 137}, ""),
    ],
)
def test_several_processes_end_with_the_code_and_the_line_of_one(
    stage: Stage, processes: str, body: str, codes: set[int], line: str
) -> None:
    done = stage(body, ASO_SE_PROCESSES=processes)
    assert (done.returncode in codes, done.stderr) == (True, line)


@pytest.fixture
def at_work(stage: Stage, tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Start a stage of several processes with work for minutes; return when all are working."""

    def start(processes: str) -> subprocess.Popen[str]:
        body = "import time; Path(f'ready{ranks.number()}').touch(); time.sleep(600)"
        (tmp_path / "stages" / "tiny.py").write_text(RECIPE.format(body=body))
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.tiny", "in", "out"],
            cwd=tmp_path,
            env={**os.environ, "ASO_SE_PROCESSES": processes},
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(list(tmp_path.glob("ready*"))) < int(processes):
            assert process.poll() is None
            time.sleep(0.05)
        return process

    return start


@SEVERAL
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("all_at_once", [False, True])
def test_what_is_interrupted_says_so_once(
    at_work: Callable[[str], subprocess.Popen[str]],
    processes: str,
    number: signal.Signals,
    all_at_once: bool,
) -> None:
    with at_work(processes) as process:
        others = psutil.Process(process.pid).children(recursive=True) if all_at_once else []
        for one in (*others, process):
            one.send_signal(number)
        _, said = process.communicate()
    assert (process.returncode, said) == (75, "tiny: interrupted; run it again\n")


def test_processes_end_with_what_began_them(
    at_work: Callable[[str], subprocess.Popen[str]],
) -> None:
    with at_work("2") as process:
        others = psutil.Process(process.pid).children(recursive=True)
        assert len(others) >= 2
        process.kill()
        assert psutil.wait_procs(others, timeout=60)[1] == []


def test_what_shall_follow_a_result_follows_only_one_that_counts(stage: Stage) -> None:
    body = "Path('params.yaml').write_text('seed: 2'); return lambda: print('points removed')"
    assert stage(body).stdout == ""
    assert stage(body.partition(";")[2].strip()).stdout == "points removed\n"


@SEVERAL
def test_bad_params_end_a_stage_before_it_begins(
    stage: Stage, processes: str, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text("seed: true\n")
    done = stage("print('ran')", ASO_SE_PROCESSES=processes)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "params.yaml: seed: expected a valid integer, got True\n"


@pytest.mark.parametrize("file", ["stages/tiny.py", "pipeline/harness/section.py"])
@pytest.mark.parametrize("edit", ["write_text(text + '# edited')", "unlink()"])
def test_a_stage_whose_code_was_edited_meanwhile_refuses_to_finish(
    stage: Stage, file: str, edit: str
) -> None:
    done = stage(f"text = Path('{file}').read_text(); Path('{file}').{edit}")
    assert done.returncode == 1
    assert done.stderr == f"{file}: edited while the stage ran; run it again\n"


def test_a_stage_that_is_run_as_a_file_refuses_too(stage: Stage, tmp_path: Path) -> None:
    file = "pipeline/harness/section.py"
    stage(f"text = Path('{file}').read_text(); Path('{file}').write_text(text + '# edited')")
    done = subprocess.run(
        [sys.executable, "stages/tiny.py", "in", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"{file}: edited while the stage ran; run it again\n"


@pytest.mark.parametrize("edit", ["unlink()", "write_text('old')"])
def test_a_stage_whose_input_was_replaced_meanwhile_refuses_to_finish(
    stage: Stage, edit: str, tmp_path: Path
) -> None:
    (tmp_path / "in/of").mkdir(parents=True)
    (tmp_path / "in/of/file").write_text("new")
    os.utime(tmp_path / "in/of/file", (0, 0))
    done = stage(f"(source / 'of/file').{edit}")
    assert done.returncode == 1
    assert done.stderr == "in/of/file: replaced while the stage ran; run it again\n"


def test_an_input_that_was_written_again_alike_is_none_that_was_replaced(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("new")
    os.utime(tmp_path / "in/file", (0, 0))
    body = "(source / 'file').unlink(); (source / 'file').write_text('new')"
    done = stage(body)
    assert (done.returncode, done.stderr) == (0, "")


@SEVERAL
def test_under_dvc_a_stage_leaves_a_record_of_what_it_wrote(
    stage: Stage, processes: str, tmp_path: Path
) -> None:
    body = "from pipeline.harness.files import write_atomically as write;"
    body += " [write(where / 'file', b'new') for where in (out, out / 'of', source)]"
    done = stage(body, DVC_STAGE="dvc.yaml:tiny", ASO_SE_PROCESSES=processes)
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = read_records(tmp_path, os.getpid())
    assert record.stage == "tiny"
    digest = hashlib.md5(b"new", usedforsecurity=False).hexdigest()
    assert {name: one.md5 for name, one in record.files.items()} == {
        "out/file": digest,
        "out/of/file": digest,
    }
    assert read_records(tmp_path, 1) == []


def test_an_input_that_is_now_a_link_is_hashed_once(stage: Stage, tmp_path: Path) -> None:
    body = "from pipeline.harness.files import write_atomically as write;"
    body += " write(out / 'file', b'new')"
    assert stage(body, DVC_STAGE="dvc.yaml:tiny").returncode == 0
    shutil.copy(tmp_path / "out/file", tmp_path / "cached")
    (tmp_path / "out/file").unlink()
    (tmp_path / "out/file").symlink_to(tmp_path / "cached")
    following = stage("pass", "out", "next", DVC_STAGE="dvc.yaml:other")
    assert (following.returncode, following.stderr) == (0, "")
    (record,) = (one for one in read_records(tmp_path, os.getpid()) if one.stage == "tiny")
    assert record.files["out/file"].identity == identity((tmp_path / "cached").stat())


def test_a_record_of_an_earlier_process_of_the_same_number_is_not_believed(
    stage: Stage, tmp_path: Path
) -> None:
    assert stage("pass", DVC_STAGE="dvc.yaml:tiny").returncode == 0
    (path,) = (tmp_path / WRITTEN).iterdir()
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "began": "1"}))
    assert read_records(tmp_path, os.getpid()) == []
    assert not path.exists()


def test_a_lack_keeps_its_exit_code_where_the_disk_of_the_log_is_full_too() -> None:
    program = "from pipeline.console.ending import InOneLine\nwith InOneLine(): raise MemoryError"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=full, check=False
        )
    assert done.returncode == 4


def test_code_that_the_stage_does_not_run_may_be_edited_meanwhile(stage: Stage) -> None:
    done = stage("Path('pipeline/space/network.py').write_text('# edited')")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("edited", "error"),
    [
        ("seed: 2\nother: 1\n", "params.yaml: edited while the stage ran; run it again\n"),
        ("seed: 1\nother: 2\n", ""),
        ("# a remark\nother: 1\nseed: 1\n", ""),
    ],
)
def test_a_stage_whose_params_were_edited_meanwhile_refuses_to_finish(
    stage: Stage, edited: str, error: str
) -> None:
    done = stage(f"Path('params.yaml').write_text({edited!r})")
    assert (done.returncode, done.stderr) == (1 if error else 0, error)


def test_an_error_shows_nothing_that_a_terminal_would_obey(stage: Stage) -> None:
    for body in (
        f'raise errors.DataError("{HOSTILE}")',
        f'raise OSError(5, "damaged", "{HOSTILE}")',
    ):
        done = stage(body)
        assert done.returncode == 1
        assert "\x1b" not in done.stderr
        assert "\\x1b[2Jlines" in done.stderr


def test_a_line_of_a_stage_shows_nothing_that_a_terminal_would_obey(stage: Stage) -> None:
    done = stage(f'from pipeline.console.progress import say; say("{HOSTILE}")')
    assert (done.stdout, done.stderr) == ("two\n\\x1b[2Jlines\n", "")
