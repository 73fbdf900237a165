from pathlib import Path

from pipeline.flows.artifacts import _pictures


def test_a_picture_in_two_forms_is_shown_once_and_sharp(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "report"
    folder.mkdir(parents=True)
    for name in ("cells.svg", "cells.png", "photograph.png"):
        (folder / name).write_bytes(name.encode())
    page = _pictures(tmp_path)
    assert page.count("## ") == page.count("data:image/") == 2
    assert "![cells](data:image/svg+xml;base64," in page
    assert "![photograph](data:image/png;base64," in page
