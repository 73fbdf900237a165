"""Report: what was searched and found, as one page, and its pictures as files.

    python -m stages.report artifacts artifacts/report

Reads what every stage left under the first folder. The page needs no other file and no network.
"""

from pathlib import Path

from pipeline.batches.params import AugmentationParams
from pipeline.console.progress import say
from pipeline.data.params import DataParams
from pipeline.exporting.params import ExportParams
from pipeline.growing.params import GrowthParams
from pipeline.harness.files import write_atomically
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import run_stage
from pipeline.optimizing.params import OptimizeParams
from pipeline.referencing.params import ReferenceParams
from pipeline.reporting.findings import read_findings
from pipeline.reporting.page import page
from pipeline.reporting.pictures import draw
from pipeline.searching.params import SearchParams
from pipeline.space.params import NetworkParams
from pipeline.training.params import TrainingParams
from pipeline.warming.params import WarmupParams


class Params(Section):
    """The sections that this stage depends on: it shows them all."""

    seed: Seed
    data: DataParams
    augmentation: AugmentationParams
    network: NetworkParams
    training: TrainingParams
    warmup: WarmupParams
    search: SearchParams
    growth: GrowthParams
    optimize: OptimizeParams
    reference: ReferenceParams
    export: ExportParams


def main(params: Params, artifacts: Path, out: Path) -> None:
    """Draw and describe what the other stages found."""
    findings = read_findings(artifacts)
    pictures = draw(findings)
    text = page(findings, pictures, params.model_dump())

    for name, picture in pictures.items():
        write_atomically(out / f"{name}.svg", picture.svg_file)
        write_atomically(out / f"{name}.png", picture.png)
    write_atomically(out / "report.html", text.encode())
    say(f"report: {out / 'report.html'}, with {len(pictures)} pictures")


if __name__ == "__main__":
    run_stage(Params, main)
