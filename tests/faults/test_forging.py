"""Forged facts behind right digests are one line, never a traceback and never silent.

What is accepted must be what a stage could have written: another name, another number in its range.

    python -m pytest -m slow tests/faults/test_forging.py   # 1,000 of each kind
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.batches.images import read_images
from pipeline.harness.errors import AsoSeError, CheckpointError
from pipeline.prepared.facts import CHECKSUM, SPLITS, checksum, sha256
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import write_dataset
from pipeline.reporting.findings import read_findings
from pipeline.reporting.page import page
from pipeline.reporting.pictures import draw
from pipeline.reporting.style import Picture
from pipeline.space import checkpoint as checkpoints
from pipeline.space.checkpoint import read_checkpoint
from pipeline.training.fitting import fitting
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.faults.forging import forged
from tests.phases import PHASES
from tests.reporting.conftest import NOWHERE, write_artifacts

COUNTS = pytest.mark.parametrize(
    "count", [100, pytest.param(1000, marks=pytest.mark.slow)], ids=str
)
Attempt = Callable[[int], str]
"""Function that forges a file by a seed and says what it changed."""

WITH_DEFAULTS = (
    *(f"('blueprint', 'cells', {number}, 'grown') removed" for number in range(3)),
    *(f"('blueprint', '{name}') removed" for name in ("space", "stem_stride", "stem_widths")),
    "('format',) removed",  # it is written again
)
"""What a checkpoint may lack, because the default is what was there."""


def require_refused(
    count: int, attempt: Attempt, read: Callable[[], object], free: tuple[str, ...]
) -> None:
    """Read forged files; most are refused, and those that are not could be of a stage.

    read: function that reads the file, which is not yet forged. free: beginnings of the
    descriptions of what a stage could have written.
    """
    read()
    refused, wrong = 0, []
    for seed in range(count):
        what = attempt(seed)
        try:
            read()
        except AsoSeError as error:
            line = str(error)
            refused += 1
            if not line.isprintable():
                wrong.append(f"{what}: not printable: {line!r}")
        except Exception as error:  # noqa: BLE001 - a traceback is what must not be
            wrong.append(f"{what}: {error!r}")
        else:
            if not what.startswith(free):
                wrong.append(f"{what}: accepted")
    assert wrong == [], f"{len(wrong)} of {count}: " + "\n".join(sorted(set(wrong))[:60])
    assert 0.3 * count < refused


def rewritten(folder: Path, changed: dict[str, Any]) -> None:
    """Write the facts of a data set with the right checksum."""
    document = {name: value for name, value in changed.items() if name != CHECKSUM}
    text = json.dumps({**document, CHECKSUM: checksum(document)})
    (folder / "dataset.json").write_text(text)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A data set whose images have files."""

    def labelled(split: str) -> Labelled:
        pixels = np.zeros((4, 5, 5, 3), np.uint8)
        names = tuple(f"{split}/{number}.png" for number in range(4))
        return Labelled(images=pixels, labels=np.array([0, 0, 1, 1]), names=names)

    splits = Splits(**{split: labelled(split) for split in SPLITS})
    folder = tmp_path / "prepare"
    write_dataset(
        folder, name="n", classes=("a", "b"), splits=splits, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    return folder


def read_all(folder: Path) -> None:
    for split in SPLITS:
        read_images(folder, split, "cpu")
        assert read_names(folder, split) is not None


@COUNTS
def test_facts_of_a_data_set(count: int, prepared: Path) -> None:
    document = json.loads((prepared / "dataset.json").read_text())

    def attempt(seed: int) -> str:
        path, how, changed = forged(document, seed)
        rewritten(prepared, changed)
        return f"{path} {how}"

    free = ("('name',) now", "('mean', ", "('std', ", f"('{CHECKSUM}',)")
    require_refused(count, attempt, lambda: read_all(prepared), free)


@COUNTS
def test_names_of_images(count: int, prepared: Path) -> None:
    document = json.loads((prepared / "dataset.json").read_text())
    names = json.loads((prepared / "names.json").read_text())

    def attempt(seed: int) -> str:
        path, how, changed = forged(names, seed)
        content = json.dumps(changed).encode()
        (prepared / "names.json").write_bytes(content)
        digests = {**document["sha256"], "names.json": sha256(content)}
        rewritten(prepared, {**document, "sha256": digests})
        return f"{len(path)} {path} {how}"

    require_refused(count, attempt, lambda: read_all(prepared), ("2 ",))


@COUNTS
def test_facts_of_a_supernet(count: int, checkpoint: Path, tmp_path: Path) -> None:
    tensors, facts = checkpoints.decode(checkpoint)
    path = Path(shutil.copy(checkpoint, tmp_path))

    def read() -> None:
        read_checkpoint(path)
        for name in ("search", "growth that is accepted", "optimize"):
            PHASES[name](path).begin()

    def attempt(seed: int) -> str:
        where, how, changed = forged(facts, seed)
        path.write_bytes(checkpoints.encode(tensors, changed))
        return f"{where} {how}"

    free = (
        "('facts', 'temperature') now",
        "('facts', 'epoch') now",
        *WITH_DEFAULTS,
    )
    require_refused(count, attempt, read, free)


LEFT_OUT = tuple(
    f"('{name}',) {how}" for name in ("compared", "skipped") for how in ("removed", "now []")
)
JSON_OF_REPORT = {
    "growth/growth.json": ("('events', ", "('events',) now []"),
    "search/finalists.json": ("('epochs', ", "('winner',) now"),
    "search/metrics.json": ("('drop_at_start',) now",),
    "export/metrics.json": (
        "('images',)",
        "('agreement',) now",
        "('max_difference',) now",
        "('onnx_bytes',) now",
    ),
    "reference/references.json": ("('compared', ", "('skipped', ", *LEFT_OUT),
}
"""File of a stage -> beginnings of what it could have written."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Picture]:
    """The pictures of the report; to draw them each time would take minutes."""
    return draw(read_findings(write_artifacts(tmp_path_factory.mktemp("run")), NOWHERE))


@pytest.fixture
def show(tmp_path: Path, pictures: Mapping[str, Picture]) -> Callable[[], object]:
    """Write a run's artifacts; return a function that writes the page about them."""
    folder = write_artifacts(tmp_path / "artifacts")
    return lambda: page(read_findings(folder, NOWHERE), pictures, {"seed": 0})


@COUNTS
@pytest.mark.parametrize("file", JSON_OF_REPORT)
def test_documents_that_the_report_reads(
    count: int, file: str, tmp_path: Path, show: Callable[[], object]
) -> None:
    path = tmp_path / "artifacts" / file
    document = json.loads(path.read_text())

    def attempt(seed: int) -> str:
        where, how, changed = forged(document, seed)
        path.write_text(json.dumps(changed))
        return f"{where} {how}"

    require_refused(count, attempt, show, JSON_OF_REPORT[file])


@COUNTS
def test_facts_of_the_model(count: int, tmp_path: Path, show: Callable[[], object]) -> None:
    path = tmp_path / "artifacts" / "derive/model.safetensors"
    tensors, facts = checkpoints.decode(path)

    def attempt(seed: int) -> str:
        where, how, changed = forged(facts, seed)
        path.write_bytes(checkpoints.encode(tensors, changed))
        return f"{where} {how}"

    free = (
        "('facts', 'metrics', ",
        "('genotype', 'architectures', ",
        "('blueprint', 'operations', 0) removed",  # which the genotype does not name
        *WITH_DEFAULTS,
    )
    require_refused(count, attempt, show, free)


GONE = tuple(f"({row},) {how}" for row in (1, 2) for how in ("removed", "now ''", "now []"))
"""Ways in which the row of an epoch is no longer there; an empty line is none."""


@COUNTS
@pytest.mark.parametrize(
    ("name", "free"), [("history.tsv", ("(1, ", "(2, ", *GONE)), ("edges.tsv", ())]
)
def test_histories(
    name: str, free: tuple[str, ...], count: int, tmp_path: Path, show: Callable[[], object]
) -> None:
    path = tmp_path / "artifacts" / "search" / name
    before = path.read_text()
    rows = [line.split("\t") for line in before.splitlines()]

    def attempt(seed: int) -> str:
        text = before
        while text == before:  # the number 0 for the text '0' is no change
            where, how, changed = forged(rows, seed)
            lines = (
                "\t".join(map(str, row) if isinstance(row, list) else [str(row)]) for row in changed
            )
            text, seed = "\n".join(lines) + "\n", seed + 10**6
        path.write_text(text)
        return f"{where} {how}"

    require_refused(count, attempt, show, free)


POINTS = {
    "warmup": 100,
    "search that stops operations": 100,
    "growth of all kinds": 40,
    "optimize": 100,
    "finals": 100,
}
"""Phase -> points that are forged; a growth takes a quarter of a second to begin again."""
SLOW_POINTS = [pytest.param(name, 1000, marks=pytest.mark.slow) for name in POINTS]


@pytest.mark.parametrize(("name", "count"), [*POINTS.items(), *SLOW_POINTS])
def test_resume_points(
    name: str, count: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phase, points = PHASES[name](checkpoint), Points("phase", tmp_path / "points")
    run(phase, points)
    path = min(points.folder.iterdir())  # an epoch is left to do
    tensors, facts = checkpoints.decode(path)
    for other in points.folder.iterdir():
        if other != path:
            other.unlink()

    def read() -> None:
        saved, rows = points.newest()
        if saved is None:
            raise CheckpointError("passed over")
        next(phase.train(fitting(phase.resumed, saved, rows, points), 1.0, rows))

    def attempt(seed: int) -> str:
        where, how, changed = forged(facts, seed)
        path.write_bytes(checkpoints.encode(tensors, changed))
        return f"{where} {how}"

    free = ("('machine',) now", "('rows', ", "('state', ")
    require_refused(count, attempt, read, free)
