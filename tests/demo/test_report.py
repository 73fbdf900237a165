"""The report in a browser: what it tells where the pointer rests."""

from pathlib import Path

import pytest

from stages import report
from tests.demo.browser import Browser
from tests.reporting.conftest import write_artifacts
from tests.reporting.test_report import PARAMS

pytestmark = pytest.mark.xdist_group("browser")

TITLE = """(() => {
  const svg = document.querySelectorAll('figure svg')[%d];
  svg.scrollIntoView({block: 'center'});
  const box = svg.getBoundingClientRect();
  const at = document.elementFromPoint(
    box.left + %f * box.width, box.top + %f * box.height);
  const title = at.closest('g')?.querySelector(':scope > title');
  return title ? title.textContent : null;
})()"""


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Browser:
    out = tmp_path / "report"
    report.main(PARAMS, write_artifacts(tmp_path / "artifacts"), out)
    browser.resize(1000, 800)
    browser.send("Page.navigate", url=(out / "report.html").as_uri())
    browser.wait("document.readyState == 'complete' && !!document.querySelector('figure svg')")
    return browser


def place(browser: Browser, description: str) -> int:
    """Return the number of the picture with a description."""
    names = browser.run("[...document.querySelectorAll('figure svg')].map((one) => one.ariaLabel)")
    [found] = [number for number, name in enumerate(names) if name.startswith(description)]
    return int(found)


@pytest.mark.parametrize("y", [0.2, 0.5, 0.9])
def test_the_pointer_finds_the_values_of_an_epoch_on_every_curve(opened: Browser, y: float) -> None:
    curves = place(opened, "Accuracy, loss")
    first = opened.run(TITLE % (curves, 0.08, y))
    last = opened.run(TITLE % (curves, 0.97, y))
    assert first.startswith("epoch 1, warmup\ntraining accuracy 5.0%\n")
    assert last.startswith("epoch 12, optimize\n")
    assert opened.run(TITLE % (curves, 0.01, y)) is None


def test_the_pointer_finds_what_an_edge_preferred(opened: Browser) -> None:
    edges = place(opened, "The operation that each edge")
    told = opened.run(TITLE % (edges, 0.4, 0.3))
    assert ", epochs " in told
    assert told.endswith("%")
    assert opened.complaints == []
