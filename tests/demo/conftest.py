"""The runtime for browsers, a browser, and models to try in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from pipeline.demo.command import files
from pipeline.demo.runtime import ARCHIVE, PLACE, runtime
from pipeline.demo.serving import Server
from pipeline.harness.errors import RunError
from tests.demo.browser import PROGRAM, Browser

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tree() -> Path:
    """The clone, which keeps the runtime from one test run to the next."""
    if not (ROOT / PLACE / ARCHIVE).exists():
        try:
            runtime(ROOT)
        except RunError as error:
            pytest.skip(f"no runtime for browsers: {error}")
    return ROOT


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not shutil.which(PROGRAM):
        pytest.skip(f"{PROGRAM} is not installed")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(tree: Path, browser: Browser) -> Iterator["Page"]:
    yield (opened := Page(tree, browser))
    opened.close()


class Page:
    """The page of a model in a browser, as `aso-se demo` serves it."""

    def __init__(self, tree: Path, browser: Browser) -> None:
        self.tree, self.browser = tree, browser
        self.servers: list[Server] = []

    def open(self, model: Path) -> Browser:
        """Serve a model and load its page."""
        self.servers.append(Server(files(self.tree, model), 0))
        Thread(target=self.servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        self.browser.resize(1000, 800)
        self.browser.open(self.servers[-1].url)
        return self.browser

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()
