"""Report: describe the search and its result on one page, with its pictures as files.

    python -m stages.report artifacts artifacts/report

Reads what every stage wrote under the first folder, and the photos that it shows. The page needs no
other file and no internet.
"""

from pathlib import Path
from typing import Any

from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.harness.files import write_atomically
from pipeline.harness.section import Section, Seed
from pipeline.reporting.findings import read_findings
from pipeline.reporting.page import page
from pipeline.reporting.pictures import draw

Shown = dict[str, Any]
"""Section as it is written in the file; `check` has validated it, the report shows it."""


class Params(Section):
    """The sections that this stage depends on: it shows them all."""

    seed: Seed
    data: Shown
    augmentation: Shown
    network: Shown
    training: Shown
    target: Shown
    warmup: Shown
    search: Shown
    growth: Shown
    optimize: Shown
    reference: Shown
    export: Shown


def main(params: Params, artifacts: Path, out: Path) -> None:
    """Draw and describe what the other stages found."""
    findings = read_findings(artifacts, Path(params.data["path"]))
    pictures = draw(findings)
    text = page(findings, pictures, params.model_dump())

    for name, picture in pictures.items():
        write_atomically(out / f"{name}.svg", picture.svg_file)
        write_atomically(out / f"{name}.png", picture.png)
    write_atomically(out / "report.html", text.encode())
    say(f"report: {out / 'report.html'}, with {len(pictures)} pictures")


if __name__ == "__main__":
    run_stage(Params, main)
