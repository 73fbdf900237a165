"""`aso-se demo`: a page on this machine where people try the model with their own images."""

import webbrowser
from pathlib import Path
from threading import Thread

from pipeline.console.progress import say
from pipeline.demo.runtime import runtime
from pipeline.demo.serving import Files, Server
from pipeline.harness.errors import RunError
from pipeline.harness.showing import shown

PAGE = Path(__file__).with_name("page")
GOLDEN = "test_data_set_0"
"""Folder beside a model with the images and answers of the self-test."""


def demo(tree: Path, model: Path, *, port: int, browser: bool) -> int:
    """Serve the page until Ctrl-C; return 0.

    tree: where the runtime is kept. port: 0 for any that is free. browser: whether to open one.

    Raises:
        RunError: there is no model or no runtime, or the port is taken.
    """
    if not model.is_file():
        raise RunError(f"{shown(model)}: no such file; 'aso-se run' exports a model")
    with Server(files(tree, model), port) as server:
        say(f"demo: {server.url} (Ctrl-C ends it)")
        if browser:  # in a thread, for some browsers return only when they are closed
            Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("demo: ended")
    return 0


def files(tree: Path, model: Path) -> Files:
    """Return all that is served: the page, the runtime, the model, and its golden vectors."""
    page = {f"/{path.name}": path for path in PAGE.iterdir() if path.is_file()}
    golden = {f"/golden/{path.name}": path for path in (model.parent / GOLDEN).glob("*.pb")}
    return {
        "/": PAGE / "index.html",
        **page,
        **{f"/runtime/{name}": content for name, content in runtime(tree).items()},
        "/model.onnx": model,
        **golden,
    }
