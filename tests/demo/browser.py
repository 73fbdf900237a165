"""Chromium without a window, driven through its own protocol over two pipes.

It is led to a page as a person would be: by files, drops, clicks and strokes. It resolves no name,
so a page that asks another host for anything fails.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = "chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE_SECONDS = 60


class Browser:
    """A browser with one page; `complaints` has what the page or its policy reported as wrong."""

    def __init__(self, profile: Path) -> None:
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        redirected = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        words = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", redirected, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.left, self.count, self.session = b"", 0, ""
        self.complaints: list[str] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        [page] = [one["targetId"] for one in targets if one["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setScrollbarsHidden", hidden=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.commands)  # which ends it
        try:
            self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            os.close(self.answers)

    def send(self, method: str, **params: object) -> Any:
        """Send a command of the protocol and return its result."""
        self.count += 1
        message: dict[str, object] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.count:
            self.note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser has ended"
            self.left += part
        message, _, self.left = self.left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(event["params"]["exceptionDetails"]))

    def open(self, url: str) -> None:
        """Load a page and wait for its self-test."""
        self.complaints.clear()
        self.send("Page.navigate", url=url)
        told = "[...document.querySelectorAll('#self-test, #trouble')]"
        self.wait(f"{told}.some((one) => one.textContent)")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited."""
        done = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (value := self.run(condition)):
            assert time.monotonic() < end, f"never true: {condition}\n{self.complaints}"
            time.sleep(0.02)
        return value

    def text(self, part: str) -> str:
        """Return the text of an element by its id, '' if it is hidden."""
        element = f"document.getElementById('{part}')"
        found: str = self.run(f"{element}.checkVisibility() ? {element}.innerText : ''")
        return found

    def choose(self, path: Path) -> None:
        """Choose a file by the page's button."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop(self, path: Path) -> None:
        """Drop a file on the page."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=50, y=50, data=data)

    def click(self, part: str) -> None:
        self.run(f"document.getElementById('{part}').click()")

    def draw(self, part: str, *points: tuple[float, float]) -> None:
        """Draw a line on an element with the mouse; points: fractions of its sides."""
        self.run(f"document.getElementById('{part}').scrollIntoView()")
        box = self.run(f"document.getElementById('{part}').getBoundingClientRect().toJSON()")
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            at = {"x": box["left"] + x * box["width"], "y": box["top"] + y * box["height"]}
            self.send(
                "Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **at
            )

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the page another size in pixels and a light or dark scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))
