"""Real processes in odd surroundings: strange paths, locales, folders that cannot be written.

The whole chain runs only with `-m slow`; `prepare` alone already meets everything about a locale.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.prepared.facts import read_facts
from stages.prepare import Params, main
from tests.faults.test_corruption import STAGES, files
from tests.test_pipeline import TINY

ROOT = Path(__file__).resolve().parents[2]
AS_OTHERS = () if os.getuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Command prefix that takes root's right to read and write everything, if root runs the tests."""
CLASSES = ("Hündin", "katze 猫")
LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX"},
    "C.UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
    "one that is not there": {"LC_ALL": "tr_TR.ISO-8859-9"},
    "another zone": {"LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "LANGUAGE": "ar"},
}


def run(
    folder: Path, stage: str, *arguments: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    return subprocess.run(
        [*before, sys.executable, "-B", "-m", f"stages.{stage}", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "ASO_SE_DEVICE": "cpu", **environment},
        capture_output=True,
        check=False,
    )


def require_line(done: subprocess.CompletedProcess[bytes], begin: str, code: int = 1) -> None:
    """Require that a stage ended with one line and a code, and printed at most counts before."""
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == code
    assert all(one.startswith(b"training images: ") for one in done.stdout.splitlines())
    assert line.startswith(begin)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A project with images of two classes, in a folder that is no clone and has an odd name."""
    folder = tmp_path / "ein Ordner, größer $HOME 'x' 猫"
    for level in range(60):
        path = folder / "Bilder" / CLASSES[level % 2] / f"{level} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (4 * level, 9, 200 * (level % 2))).save(path)
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in TINY.items():
        params[section].update(changes)
    params["data"] |= {"name": "image_folder", "path": "Bilder"}
    params["network"]["operations"] = ["none", "skip_connect", "sep_conv_3x3"]
    params["training"] |= {"weight_decay": 0.0003, "batch_size": 16}
    params["growth"]["epochs"] = 1
    params["export"]["max_difference"] = 0.01
    text = json.dumps(params, ensure_ascii=False)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", LOCALES)
def test_a_locale_changes_neither_names_nor_bytes(
    kind: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = "aus gabe é"
    assert run(elsewhere, "check", f"{out}/check", **LOCALES[kind]).returncode == 0
    done = run(elsewhere, "prepare", f"{out}/prepare", **LOCALES[kind])
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_facts(elsewhere / out / "prepare").classes == CLASSES
    monkeypatch.chdir(elsewhere)
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    chosen = {name: params[name] for name in ("seed", "data")}
    main(Params.model_validate(chosen), Path("here"))
    assert files(elsewhere / out / "prepare") == files(Path("here"))


def test_a_locale_that_would_misread_names_is_refused(elsewhere: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    done = run(elsewhere, "prepare", "out", **locale)
    require_line(done, "names of files are not UTF-8 in this locale; set PYTHONUTF8=1")
    assert not (elsewhere / "out").exists()


@pytest.mark.slow
def test_the_whole_chain_gives_the_same_bytes_in_any_locale(elsewhere: Path) -> None:
    for out, locale in (("as usual", {}), ("größer", {"LC_ALL": "C"})):
        for name, stage in STAGES.items():
            paths = [f"{out}/{before}" for before in (*stage.inputs, name)]
            done = run(elsewhere, name, *paths, **locale)
            assert (done.returncode, done.stderr) == (0, b""), name
    assert files(elsewhere / "as usual") == files(elsewhere / "größer")


@pytest.mark.parametrize("image", ["name é.png", "line\nbreak.png", "\x1b[2J.png", "half\udcff"])
def test_a_bad_image_of_any_name_is_one_line_in_any_locale(image: str, elsewhere: Path) -> None:
    (elsewhere / "Bilder" / CLASSES[0] / image).write_bytes(b"no image")
    for locale in (LOCALES["C"], LOCALES["C.UTF-8"]):
        done = run(elsewhere, "prepare", "out", **locale)
        require_line(done, "Bilder/")
        assert b"not a readable image" in done.stderr
        assert done.stderr.decode().rstrip("\n").isprintable()
    assert not (elsewhere / "out").exists()


def test_a_name_that_would_clear_or_turn_a_line_is_printed_escaped(elsewhere: Path) -> None:
    (elsewhere / "Bilder" / CLASSES[0]).rename(elsewhere / "Bilder" / "abc\u202egpj")
    done = run(elsewhere, "prepare", "out")
    assert b"abc\\u202egpj 30" in done.stdout
    assert "\u202e".encode() not in done.stdout + done.stderr


def test_a_file_in_the_place_of_the_output_folder_stays_what_it_is(elsewhere: Path) -> None:
    out = elsewhere / "out"
    out.write_text("mine")
    for path in ("out", "out/prepare"):
        require_line(run(elsewhere, "prepare", path), "out")
    assert out.read_text() == "mine"


def test_a_folder_in_the_place_of_an_output_is_one_line(elsewhere: Path) -> None:
    (elsewhere / "out/params.txt/mine").mkdir(parents=True)
    require_line(run(elsewhere, "check", "out"), "out/")
    assert (elsewhere / "out/params.txt/mine").is_dir()
    assert len(list((elsewhere / "out").iterdir())) == 1


def test_an_output_that_leads_nowhere_is_one_line(elsewhere: Path) -> None:
    (elsewhere / "loop").symlink_to("loop")
    require_line(run(elsewhere, "check", "loop/check"), "loop")
    require_line(run(elsewhere, "check", "x" * 999), "x" * 99)


@pytest.mark.skipif(AS_OTHERS and not shutil.which("setpriv"), reason="needs util-linux")
def test_without_permission_there_is_one_line_and_all_stays(elsewhere: Path) -> None:
    assert run(elsewhere, "check", "out/check").returncode == 0
    before = files(elsewhere)
    image, params = elsewhere / "Bilder" / CLASSES[0] / "0 é.png", elsewhere / "params.yaml"
    refused = {
        elsewhere / "out/check": ("check", "out/check", "out/check/"),
        elsewhere: ("prepare", "new/prepare", ".aso-se: Permission denied"),
        image: ("prepare", "out/prepare", f"{image.relative_to(elsewhere)}: not a readable image"),
        image.parent: ("prepare", "out/prepare", f"{image.parent.relative_to(elsewhere)}: cannot"),
        params: ("check", "out/check", "params.yaml: cannot be read: Permission denied"),
    }
    for path, (stage, out, line) in refused.items():
        mode = path.stat().st_mode
        path.chmod(0o555 if path in {elsewhere, elsewhere / "out/check"} else 0)
        require_line(run(elsewhere, stage, out, before=AS_OTHERS), line)
        path.chmod(mode)
    assert files(elsewhere) == {**before, ".aso-se/scratch.lock": b""}
