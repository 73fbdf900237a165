"""No damaged, truncated or foreign artifact passes a stage: one line names it, nothing is written.

All stages run once on tiny data. Then every file that a later stage reads is damaged in every way,
and every stage that reads it runs on the damage. A sample always runs; all of it takes minutes:

    python -m pytest -m slow tests/faults

Stages need not find damage on which no result depends: `metrics.json`, `history.tsv`, `edges.tsv`,
`genotype.json`, `growth.json`, `confusion.tsv`, `suspects.csv` and `references.json` are for people
and DVC's comparisons, and DVC reruns their stage if one differs from `dvc.lock`. Only `report` and
`export` read some of them, and `tests/reporting` tests that they refuse nonsense.
`check/params.txt` is empty, and no stage reads the outputs of `export` and `report`.
"""

import json
import pickle
import random
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.harness.errors import AsoSeError
from pipeline.harness.params_file import read_params
from pipeline.harness.section import Section
from pipeline.params import Params
from pipeline.prepared.facts import CHECKSUM, SPLITS, Split, checksum, read_facts
from pipeline.reporting.pictures import PICTURES
from pipeline.space import checkpoint as checkpoints
from pipeline.training.resume import resume_points
from stages import (
    check,
    derive,
    export,
    growth,
    optimize,
    prepare,
    reference,
    report,
    search,
    warmup,
)
from tests.test_pipeline import TINY

pytestmark = pytest.mark.xdist_group("corruption")

ROOT = Path(__file__).resolve().parents[2]
TRAINED = "checkpoint.safetensors"
FLIPS = 20


@dataclass(frozen=True)
class Stage:
    """A stage, the stages before it, and those of their files that it reads.

    splits: those whose images it reads, which are parts of one file.
    """

    params: type[Section]
    main: Callable[..., None]
    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    splits: tuple[Split, ...] = ("train", "validation")


IMAGES = "prepare/images.safetensors"
DATASET = ("prepare/dataset.json", IMAGES)


STAGES = {
    "check": Stage(Params, check.main, (), ()),
    "prepare": Stage(prepare.Params, prepare.main, (), ()),
    "warmup": Stage(warmup.Params, warmup.main, ("prepare",), DATASET),
    "search": Stage(
        search.Params,
        search.main,
        ("prepare", "warmup"),
        (*DATASET, f"warmup/{TRAINED}"),
    ),
    "growth": Stage(
        growth.Params,
        growth.main,
        ("prepare", "search"),
        (*DATASET, f"search/{TRAINED}"),
    ),
    "optimize": Stage(
        optimize.Params,
        optimize.main,
        ("prepare", "growth"),
        (*DATASET, f"growth/{TRAINED}"),
    ),
    "derive": Stage(
        derive.Params,
        derive.main,
        ("prepare", "optimize"),
        (*DATASET, f"optimize/{TRAINED}", "optimize/margins.safetensors"),
        SPLITS,
    ),
    "reference": Stage(
        reference.Params,
        reference.main,
        ("prepare", "derive"),
        (*DATASET, "derive/model.safetensors"),
        SPLITS,
    ),
    "export": Stage(
        export.Params,
        export.main,
        ("prepare", "derive", "reference"),
        (*DATASET, "derive/model.safetensors"),
        ("test",),
    ),
    "report": Stage(
        report.Params,
        report.main,
        ("",),
        (*DATASET, "derive/model.safetensors"),
        ("test",),
    ),
}
READINGS = [(name, file) for name, stage in STAGES.items() for file in stage.reads]
UNREAD = {
    "defaults.json",
    "params.txt",
    "metrics.json",
    "history.tsv",
    "edges.tsv",
    "genotype.json",
    "finalists.json",
    "growth.json",
    "confusion.tsv",
    "suspects.csv",
    "references.json",
    "model.onnx",
    "model.json",
    "model_card.md",
    "variants.json",
    *("input_0.pb", "output_0.pb", "output_1.pb"),
    "report.html",
    *(f"{name}.{form}" for name in PICTURES if name != "finalists" for form in ("svg", "png")),
}


def run(name: str, tree: Path) -> None:
    stage = STAGES[name]
    paths = [tree / "artifacts" / before for before in (*stage.inputs, name)]
    stage.main(read_params(stage.params, tree / "params.yaml"), *paths)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setenv("ASO_SE_DEVICE", "cpu")
        patch.delenv("ASO_SE_RESUME", raising=False)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, surroundings: None) -> Path:
    """A tree in which every stage has run."""
    tree = tmp_path_factory.mktemp("whole")
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    for section, changes in TINY.items():
        params[section].update(changes)
    params["training"] |= {"weight_decay": 0.0003, "statistics_batches": 1}
    params["export"]["max_difference"] = 0.01
    params["network"]["operations"] = ["none", "skip_connect", "sep_conv_3x3"]
    (tree / "params.yaml").write_text(json.dumps(params))
    for name in STAGES:
        run(name, tree)
    return tree


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "tree"))


def refusal(name: str, tree: Path) -> str:
    """Run a stage on damaged files; return its line. Check that nothing is changed or written."""
    before = files(tree)
    with pytest.raises(AsoSeError) as refused:
        run(name, tree)
    line = str(refused.value)
    assert len(line.splitlines()) == 1
    assert refused.value.exit_code == 1
    assert files(tree) == before
    return line


def cuts(content: bytes) -> Iterator[bytes]:
    for length in (0, 1, len(content) // 2, len(content) - 1):
        yield content[:length]


def flips(
    content: bytes, count: int, seed: str, places: Sequence[int] | None = None
) -> Iterator[bytes]:
    """Yield contents of which one bit is another. places: bytes where that may be; None: all."""
    draw = random.Random(seed)  # noqa: S311 - damage, no secret
    for place in draw.sample(places or range(len(content)), count):
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        yield bytes(damaged)


def places_of(tree: Path, splits: Collection[Split]) -> list[int]:
    """Return the places of the bytes of some splits' labels and pixels, and of the header."""
    facts = read_facts(tree / "artifacts/prepare")
    content = (tree / "artifacts" / IMAGES).read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    count = sum(map(facts.images, SPLITS))
    pixels = (len(content) - header) // count - 8
    places, start = list(range(header)), 0
    for split in SPLITS:
        stop = start + facts.images(split)
        if split in splits:
            places += range(header + 8 * start, header + 8 * stop)
            middle = header + 8 * count
            places += range(middle + pixels * start, middle + pixels * stop)
        start = stop
    return places


def is_the_same(file: str, content: bytes, damaged: bytes) -> bool:
    """Whether a damaged document still says the same, for example without its last line break."""
    return file.endswith(".json") and content.rstrip() == damaged.rstrip()


def require_refused(name: str, file: str, tree: Path, count: int) -> int:
    """Damage a file in all ways, `count` of them flipped bits; return how many were refused."""
    path = tree / "artifacts" / file
    content = path.read_bytes()
    places = places_of(tree, STAGES[name].splits) if file == IMAGES else None
    refused = 0
    for damaged in chain(cuts(content), flips(content, count, f"{name} {file}", places)):
        if is_the_same(file, content, damaged):
            continue
        path.write_bytes(damaged)
        assert refusal(name, tree).startswith(f"{path}: ")
        refused += 1
    path.write_bytes(content)
    return refused


def test_every_file_of_every_stage_is_read_downstream_or_known_not_to_be(whole: Path) -> None:
    written = set(files(whole / "artifacts"))
    read = {file for _, file in READINGS}
    assert read <= written
    assert {Path(file).name for file in written - read} == UNREAD


@pytest.mark.parametrize(("name", "file"), READINGS)
def test_a_stage_refuses_what_was_cut_or_flipped(name: str, file: str, tree: Path) -> None:
    assert require_refused(name, file, tree, count=2) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), READINGS)
def test_a_stage_refuses_all_damage(name: str, file: str, tree: Path) -> None:
    assert require_refused(name, file, tree, count=FLIPS) >= FLIPS + 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["warmup", "search", "growth", "optimize", "derive"])
def test_a_thousand_flipped_bits_of_a_checkpoint_are_refused(name: str, whole: Path) -> None:
    source = next((whole / "artifacts" / name).glob("*.safetensors"))
    path = whole / "damaged.safetensors"
    content = source.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    parts = (flips(content[:header], 500, name), flips(content, 500, f"{name} anywhere"))
    for damaged in chain((part + content[header:] for part in parts[0]), parts[1]):
        path.write_bytes(damaged)
        with pytest.raises(AsoSeError, match=r"damaged\.safetensors: ") as refused:
            checkpoints.read_checkpoint(path)
        assert len(str(refused.value).splitlines()) == 1
    path.unlink()


@pytest.mark.parametrize(
    ("name", "place", "foreign"),
    [
        ("search", "warmup", "optimize"),
        ("growth", "search", "optimize"),
        ("growth", "search", "warmup"),
        ("optimize", "growth", "optimize"),
        ("optimize", "growth", "warmup"),
        ("optimize", "growth", "search"),
        ("derive", "optimize", "growth"),
        ("export", "derive", "growth"),
        ("export", "derive", "optimize"),
    ],
)
def test_a_checkpoint_of_another_stage_is_refused(
    name: str, place: str, foreign: str, tree: Path
) -> None:
    artifacts = tree / "artifacts"
    path = artifacts / place / ("model.safetensors" if place == "derive" else TRAINED)
    shutil.copyfile(artifacts / foreign / TRAINED, path)
    reason = f"of stage '{foreign}', not of {place}"
    remedy = f"name the folder of {place}, or 'dvc repro' writes it again"
    assert refusal(name, tree) == f"{path}: {reason}; {remedy}"


@pytest.mark.parametrize("name", ["derive", "export"])
def test_a_network_of_another_data_set_is_refused(name: str, tree: Path, tmp_path: Path) -> None:
    for level in range(40):
        folder = tmp_path / "images" / "ab"[level % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (level, 9, 9)).save(folder / f"{level}.png")
    data = read_params(prepare.Params, tree / "params.yaml").data
    other = data.model_copy(update={"name": "image_folder", "path": str(tmp_path / "images")})
    prepare.main(prepare.Params(seed=0, data=other), tree / "artifacts/prepare")
    expected = "a network for 1 channels and 10 classes, the data set has 3 and 2"
    assert expected in refusal(name, tree)


CHECKPOINTS = [(name, file) for name, file in READINGS if not file.startswith("prepare")]


@pytest.mark.parametrize(("name", "file"), CHECKPOINTS)
def test_a_checkpoint_of_another_version_is_refused(name: str, file: str, tree: Path) -> None:
    path = tree / "artifacts" / file
    tensors, facts = checkpoints.decode(path)
    path.write_bytes(checkpoints.encode(tensors, {**facts, "format": checkpoints.FORMAT + 1}))
    assert "format 2, this version reads 1" in refusal(name, tree)


class Code:
    """An object that would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("run"),)


@pytest.mark.parametrize(("name", "file"), READINGS)
def test_no_stage_runs_a_pickle(name: str, file: str, tree: Path) -> None:
    path = tree / "artifacts" / file
    path.write_bytes(pickle.dumps(Code()))
    assert refusal(name, tree).startswith(f"{path}: ")
    assert not Path("run").exists()


@pytest.mark.parametrize(("name", "file"), READINGS)
def test_a_folder_or_nothing_in_the_place_of_a_file_is_one_line(
    name: str, file: str, tree: Path
) -> None:
    path = tree / "artifacts" / file
    path.unlink()
    assert f"{path}: cannot be read: No such file" in refusal(name, tree)
    path.mkdir()
    assert f"{path}: cannot be read: Is a directory" in refusal(name, tree)


BOMBS: dict[str, dict[str, Any]] = {
    "channels": {"stem_channels": 2**40},
    "nodes": {"nodes": 10**6},
    "classes": {"classes": 2**40},
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_checkpoint_takes_no_more_memory_than_its_file(kind: str, tree: Path) -> None:
    path = tree / "artifacts/warmup" / TRAINED
    tensors, facts = checkpoints.decode(path)
    facts["blueprint"] |= BOMBS[kind]
    path.write_bytes(checkpoints.encode(tensors, facts))
    assert "not a checkpoint of this version" in refusal("search", tree)


def forge(folder: Path, **changes: Any) -> None:
    """Change the facts of a data set, with a matching checksum."""
    path = folder / "dataset.json"
    document = {**json.loads(path.read_text()), **changes}
    del document[CHECKSUM]
    path.write_text(json.dumps({**document, CHECKSUM: checksum(document)}))


FORGED: dict[str, dict[str, Any]] = {
    "no shape": {"image_shape": None},
    "a flat shape": {"image_shape": [8, 8]},
    "another shape": {"image_shape": [8, 8, 3]},
    "words for numbers": {"mean": ["black"]},
    "fewer classes": {"classes": ["0", "1"]},
    "no classes": {"classes": None},
    "another way to a square": {"fit": "stretch"},
    "no counts": {"counts": {}},
    "other counts": {"counts": {split: {"0": 1} for split in ("train", "validation", "test")}},
    "no digests": {"sha256": {}},
    "digests of another kind": {"sha256": [1]},
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_facts_of_a_data_set_are_refused(kind: str, tree: Path) -> None:
    forge(tree / "artifacts/prepare", **FORGED[kind])
    for name in ("warmup", "export"):
        assert refusal(name, tree).startswith(f"{tree}/artifacts/prepare/")


def test_a_damaged_resume_point_is_passed_over_with_a_line_and_never_used(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_RESUME", str(tree / "resume"))
    inputs = tree / "artifacts/prepare/dataset.json", tree / "artifacts/warmup"
    points = resume_points("search", read_params(search.Params, tree / "params.yaml"), *inputs)
    content = (tree / "artifacts/search" / TRAINED).read_bytes()
    path = points.folder / "00001.safetensors"
    points.folder.mkdir(parents=True)
    damages = [*cuts(content), *flips(content, FLIPS, "point"), pickle.dumps(Code())]
    for damaged in damages:
        path.write_bytes(damaged)
        assert points.newest() == (None, [])
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"{path}: ")
        assert line.endswith(": skipped")
    assert not Path("run").exists()
    assert [one.name for one in points.folder.iterdir()] == ["00001.skipped"]
    path.write_bytes(damages[0])
    before = files(tree / "artifacts")
    run("search", tree)
    assert f"{path}: " in capsys.readouterr().out
    assert files(tree / "artifacts") == before


def test_facts_survive_another_layout_of_their_file(tree: Path) -> None:
    folder = tree / "artifacts/prepare"
    facts = read_facts(folder)
    path = folder / "dataset.json"
    path.write_bytes(path.read_bytes().rstrip())
    assert read_facts(folder) == facts
