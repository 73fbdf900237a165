"""The whole stage: a folder of artifacts in, a page and pictures out."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from pipeline.comparison.references import References, write_references
from pipeline.deciding.decision import DECIDED
from pipeline.harness.errors import AsoSeError
from pipeline.harness.params_file import read_params
from pipeline.harness.showing import shown
from pipeline.reporting.pictures import PICTURES
from pipeline.space.checkpoint import decode, encode
from stages import report
from tests.reporting.conftest import DEEPENED, write_artifacts

ROOT = Path(__file__).resolve().parents[2]
PARAMS = read_params(report.Params, ROOT / "params.yaml")
INSIDE = ("#", "data:image/png;base64,", "data:image/jpeg;base64,")
HOSTILE = (
    "<script>alert(1)</script>",
    '"quoted" & <b>bold</b>',
    "$\\frac{x$",
    "{{ 7 * 7 }}",
    "日本語",
    "x" * 200,
    "line\u2028break",
    "abc\u202egpj.exe",
    "\x1b[2J",
    "=1+1",
    "'=1+1",
    "]]> --> <!--",
)


class Page(HTMLParser):
    """The parts of a page: elements, attributes that load something, ids, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}:
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


def run(artifacts: Path, out: Path) -> Path:
    report.main(PARAMS, artifacts, out)
    return out


@pytest.fixture(scope="module")
def reported(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(artifacts, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(reported: Path) -> Page:
    return Page((reported / "report.html").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_report_is_a_page_and_every_picture_twice(reported: Path) -> None:
    pictures = {f"{name}.{kind}" for name in PICTURES for kind in ("svg", "png")}
    assert files(reported).keys() == {"report.html", *pictures}
    for name in PICTURES:
        assert (reported / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        root = ET.fromstring((reported / f"{name}.svg").read_text())  # noqa: S314
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.attrib["aria-label"] == PICTURES[name][1]


def test_the_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert page.loads
    for target in page.loads:
        assert target.startswith(INSIDE), target
    assert not {"script", "link", "iframe", "object", "img"} & set(page.elements)
    assert page.elements.count("svg") == len(PICTURES)


def test_what_the_page_refers_to_is_in_it(reported: Path, page: Page) -> None:
    text = (reported / "report.html").read_text()
    referred = {
        *re.findall(r"url\(#(\w+)\)", text),
        *(load[1:] for load in page.loads if load[0] == "#"),
    }
    assert referred <= set(page.ids)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_pictures_load_nothing_either(reported: Path) -> None:
    for name in PICTURES:
        text = (reported / f"{name}.svg").read_text()
        for target in re.findall(r'(?:href|src)="([^"]*)"', text):
            assert target.startswith(INSIDE)


def test_the_page_tells_what_the_stages_measured(page: Page) -> None:
    wrong = "3 of 6 images misclassified"
    for told in ("50.0%", "688", wrong, "2 → 3", "3.1", "5e-06", "deepen"):
        assert told in page.words
    assert "0e+00" not in page.words  # of the growth that changed nothing
    for section in report.Params.model_fields:
        assert section in page.words
    assert "sep_conv_3x3" in page.words


def test_the_page_tells_what_each_phase_brought_and_its_share_of_the_cost(page: Page) -> None:
    for told in (
        "warmup: validation accuracy from 4.0% to 12.0%; 54 image passes, 20.9% of all.",
        "search: validation accuracy from 16.0% to 20.0%; 7 of 10 edges are decided, 3 open;",
        "1 changed in the last epoch; 54 image passes, 20.9% of all.",  # with the finalists'
        "deepen (3 cells) accepted: accuracy 50.0% to 60.0%; 54 image passes, 20.9% of all.",
        "optimize: training accuracy from 45.0% to 60.0%, +5.0 points in the last quarter",
        "96 image passes, 37.2% of all.",
        f"An edge is decided if an operation has a weight of {DECIDED}.",
    ):
        assert told in page.words


def test_the_page_opens_with_the_result_its_interval_and_who_wins(page: Page) -> None:
    head = page.words.partition("How it was searched")[0]
    for told in (
        "95 % interval 19.0% to 81.0%",
        "The best reference, ResNet-20 of equal size (83.3%), is better than the found network",
        "0.041",
        "Not compared: SVC on pixels (skipped: too many images).",
    ):
        assert told in head
    assert head.index("The test") < head.index("What was found")


def test_the_page_tells_precision_recall_and_f1_and_whether_probabilities_are_calibrated(
    page: Page, tmp_path: Path
) -> None:
    for told in ("53.0%", "softmax(logits / 1.3125)", "8.4%", "17.3% without", "below 0.4321"):
        assert told in page.words
    artifacts = write_artifacts(tmp_path / "artifacts", calibration={})
    plain = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert "Probabilities are not calibrated" in plain.words
    assert "optimize.use_validation: false" in plain.words
    assert "unsure" not in plain.words
    assert "most frequent confusions" not in plain.words


def test_a_run_without_references_has_a_report(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts")
    write_references(artifacts / "reference" / "references.json", References())
    page = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert "It was compared with nothing." in page.words
    assert "Best reference" not in page.words


def test_the_schemes_of_a_reader_are_both_served(reported: Path) -> None:
    for file in ("report.html", "cells.svg"):
        text = (reported / file).read_text()
        assert "prefers-color-scheme:dark" in text
        assert "var(--ink" in text


def test_equal_artifacts_give_equal_bytes_in_any_process_and_surroundings(
    artifacts: Path, reported: Path, tmp_path: Path
) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: red\nfont.size: 30\n")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    environment = {
        **os.environ,
        "MATPLOTLIBRC": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "1",
    }
    command = [sys.executable, "-m", "stages.report", str(artifacts), "again"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert files(tmp_path / "again") == files(reported)


def test_the_report_needs_no_torch(artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    subprocess.run(
        [sys.executable, "-m", "stages.report", str(artifacts), "drawn"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert (tmp_path / "drawn" / "report.html").exists()


def test_drawing_leaves_the_settings_of_matplotlib_alone(artifacts: Path, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    run(artifacts, tmp_path)
    assert dict(mpl.rcParams) == before


def test_hostile_names_of_classes_are_text_everywhere(tmp_path: Path) -> None:
    out = run(write_artifacts(tmp_path / "artifacts", HOSTILE), tmp_path / "report")
    page = Page((out / "report.html").read_text())
    assert not {"script", "b"} & set(page.elements)
    for name in HOSTILE:
        assert shown(name) in page.words
    assert not {"\u202e", "\x1b"} & set(page.words)
    for name in PICTURES:
        root = ET.fromstring((out / f"{name}.svg").read_text())  # noqa: S314
        assert not [element for element in root.iter() if element.tag.endswith(("script", "}b"))]
    derive = tmp_path / "artifacts" / "derive"
    for name, separator in (("confusion.tsv", "\t"), ("suspects.csv", ",")):
        text = (derive / name).read_text()
        assert not {"\u202e", "\x1b"} & set(text)
        assert not [one for one in re.split(f"[{separator}\n]", text) if one.startswith("=")]
    text = (out / "confusion.svg").read_text()
    assert "&lt;script&gt;" in text
    assert "$\\frac{x$" in text


def test_a_hundred_classes_fit_on_the_page(tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(100)]
    out = run(write_artifacts(tmp_path / "artifacts", classes), tmp_path / "report")
    page = Page((out / "report.html").read_text())
    assert all(name in page.words for name in classes)
    assert max(len(content) for content in files(out).values()) < 3_000_000
    assert "most frequent confusions" in page.words


def test_a_run_without_growth_and_without_mistakes_has_a_report(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts", growths=[], right=True)
    page = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert "The network did not grow." in page.words
    assert "0 of 6 images misclassified" in page.words


def test_the_finalists_are_drawn_and_the_winner_is_named(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts")
    page = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert "At the end of search 3 architectures" in page.words
    assert "The winner, number 1, went on." in page.words
    drawn = (tmp_path / "report" / "finalists.svg").read_text()
    assert "1: 66.0%, 8k parameters" in drawn
    assert "2: 50.0%, 95k parameters" in drawn


def test_the_page_names_what_failed_and_when(tmp_path: Path, page: Page) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts")
    history = artifacts / "search" / "history.tsv"
    header, first, *rest = history.read_text().splitlines()
    failed = "cell 0 (normal), edge from source 0 to node 1, sep_conv_3x3: ValueError: <b>"
    lines = [f"{header}\tdisabled", f"{first}\t{failed}", *(f"{line}\t" for line in rest)]
    history.write_text("\n".join(lines) + "\n")
    told = Page((run(artifacts, tmp_path / "report") / "report.html").read_text()).words
    assert "Failed in epoch 4 (search), and taken out of the search on that edge" in told
    assert f"from then on: {failed}." in told
    assert "taken out of the search" not in page.words.partition("Params")[0]


def test_the_page_marks_the_params_that_are_not_the_default(tmp_path: Path, page: Page) -> None:
    assert "0 of " in page.words.partition("are not the default")[0][-20:]
    artifacts = write_artifacts(tmp_path / "artifacts")
    changed = PARAMS.model_copy(
        update={"seed": 7, "growth": {**PARAMS.growth, "kinds": ["widen"], "patience": 99}}
    )
    report.main(changed, artifacts, tmp_path / "report")
    told = (tmp_path / "report" / "report.html").read_text()
    assert re.findall(r'<tr class="set"><td>(.*?)<td>(.*?)</tr>', told) == [
        ("seed", f"7 <small>default {PARAMS.seed}</small>"),
        ("kinds", "widen <small>default deepen, widen</small>"),
        ("patience", f"99 <small>default {PARAMS.growth['patience']}</small>"),
    ]
    assert "3 of " in Page(told).words.partition("are not the default")[0][-20:]


@pytest.mark.parametrize("rows", [True, False])
def test_the_page_names_finalists_that_left(rows: bool, tmp_path: Path, page: Page) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts", finals=rows)
    path, reason = artifacts / "search" / "finalists.json", "cell 0 (normal): ValueError: <b>"
    failed = [{"finalist": 3, "reason": reason}]
    path.write_text(json.dumps({**json.loads(path.read_text()), "winner": 1, "failed": failed}))
    told = Page((run(artifacts, tmp_path / "report") / "report.html").read_text()).words
    assert f"Finalist 3 left, because an operation failed: {reason}." in told
    assert ("The winner, number 1" in told) == rows
    assert "because an operation failed" not in page.words


def test_a_search_without_finalists_has_no_picture_of_them(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts", finals=False)
    page = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert "architectures, drawn from" not in page.words
    assert not (tmp_path / "report" / "finalists.svg").exists()


def test_a_growth_that_did_not_settle_has_no_accuracies(tmp_path: Path) -> None:
    refused = {**DEEPENED, "verdict": "refused", "accuracy_before": 0.0, "accuracy_after": 0.0}
    artifacts = write_artifacts(tmp_path / "artifacts", growths=[refused])
    page = Page((run(artifacts, tmp_path / "report") / "report.html").read_text())
    assert not re.search(r"(?<!\d)0\.0%", page.words)


DAMAGES: dict[str, Any] = {
    "warmup/history.tsv": "",
    "search/history.tsv": "epoch\ttrain_loss\n1\tmuch\n",
    "growth/history.tsv": "epoch\tverdict\n1\t\n",
    "search/edges.tsv": "epoch\tarchitecture\n1\t0\n",
    "growth/edges.tsv": b"\xff",
    "optimize/history.tsv": b"\xff\xfe",
    "search/finalists.json": '{"winner": 1, "epochs": [{"finalist": 1}]}',
    "growth/growth.json": '{"events": [{"epoch": 3}]}',
    "search/metrics.json": "[",
    "export/metrics.json": "{}",
    "reference/references.json": '{"compared": [{"name": "svc"}], "skipped": []}',
    "derive/confusion.tsv": "actual\tpredicted\tprobability\ncat\tcow\t0.5\n",
    "derive/suspects.csv": "split,index,label,looks_like\ntest,99,cat,dog\n",
    "derive/model.safetensors": b"",
    "prepare/images.safetensors": b"",
}


@pytest.mark.parametrize("file", DAMAGES)
def test_what_cannot_be_read_is_one_line_that_names_it_and_nothing_is_written(
    tmp_path: Path, file: str
) -> None:
    path = write_artifacts(tmp_path / "artifacts") / file
    damage = DAMAGES[file]
    path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    with pytest.raises(AsoSeError) as refused:
        run(tmp_path / "artifacts", tmp_path / "report")
    assert str(refused.value).startswith(f"{path}: ")
    assert len(str(refused.value).splitlines()) == 1
    path.unlink()
    with pytest.raises(AsoSeError, match="cannot be read: No such file"):
        run(tmp_path / "artifacts", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_network_of_another_size_than_was_measured_is_refused(tmp_path: Path) -> None:
    path = write_artifacts(tmp_path / "artifacts") / "derive" / "model.safetensors"
    tensors, document = decode(path)
    document["facts"]["metrics"]["parameters"] += 1
    path.write_bytes(encode(tensors, document))
    told = "a network of 688 parameters, measured were 689; 'dvc repro' writes it again"
    with pytest.raises(AsoSeError, match=f"^{re.escape(f'{path}: of {told}')}$"):
        run(tmp_path / "artifacts", tmp_path / "report")


def test_predictions_of_other_images_are_refused(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts")
    path = artifacts / "derive" / "confusion.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(AsoSeError, match="not of this data set's test images"):
        run(artifacts, tmp_path / "report")
