"""Export: write one ONNX file that takes raw pixels and returns probabilities.

    python -m stages.export artifacts/prepare artifacts/derive artifacts/reference artifacts/export

Writes the model only if ONNX Runtime agrees with torch on the test images. Also writes its facts as
JSON, a model card, expected outputs to check a runtime with, the smaller models that the params ask
for, and metrics.
"""

import hashlib
from pathlib import Path

from pipeline.batches.images import read_images
from pipeline.comparison.references import read_references
from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.exporting.architecture import architecture_of
from pipeline.exporting.asked import ASKED, ESTIMATED, compare
from pipeline.exporting.card import Export
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.params import ExportParams
from pipeline.exporting.parity import measure_parity, measure_resizing, require_parity
from pipeline.exporting.speed import milliseconds
from pipeline.exporting.variants import make_variants
from pipeline.exporting.writing import write_export
from pipeline.harness.section import Section
from pipeline.prepared.facts import read_facts
from pipeline.space.checkpoint import read_checkpoint
from pipeline.targeting.budget import read_budget
from pipeline.targeting.params import TargetParams


class Params(Section):
    """The sections that this stage depends on."""

    target: TargetParams
    export: ExportParams


def main(params: Params, prepare: Path, derive: Path, reference: Path, out: Path) -> None:
    """Export, compare, and only then write."""
    dataset = read_facts(prepare)
    model = derive / "model.safetensors"
    images = read_images(prepare, "test", "cpu")
    derived = read_checkpoint(model)
    derived.require_fit("derive", channels=dataset.channels, classes=len(dataset.classes))
    genotype, metrics = derived.decided(), derived.measured(dataset.classes)
    network = derived.network.eval()
    facts = ModelFacts(
        classes=dataset.classes,
        height=dataset.height,
        width=dataset.width,
        channels=dataset.channels,
        fit=dataset.fit,
        mean=dataset.mean,
        std=dataset.std,
        genotype=genotype.to_dict(),
        digests={"model.safetensors": hashlib.sha256(model.read_bytes()).hexdigest()},
        any_size=params.export.any_size,
        temperature=metrics.get("temperature"),
        unsure_below=metrics.get("unsure_below"),
    )

    exported = export_onnx(network, facts)
    pixels = images.pixels.permute(0, 2, 3, 1)
    parity = measure_parity(exported, network, pixels, dataset.mean, dataset.std)
    require_parity(parity, params.export.max_difference)
    budget = read_budget(params.target, (dataset.height, dataset.width))
    export = Export(
        model=exported,
        facts=facts,
        metrics=metrics,
        parity=parity,
        architecture=architecture_of(network),
        resizing=measure_resizing(exported, facts),
        dataset=dataset.name,
        variants=make_variants(params.export, exported, facts, prepare=prepare, test=images),
        references=read_references(reference / "references.json"),
        asked=compare(
            budget,
            network.blueprint,
            genotype,
            {
                "parameters": sum(weights.numel() for weights in network.parameters()),
                "kilobytes": len(exported) / 1e3,
            },
        ),
    )
    write_export(out, export)
    say(
        f"export: {out / 'model.onnx'}, {len(exported):,} bytes;"
        f" its logits differ from torch's by {parity.max_difference:.1e}"
    )
    if asked := export.asked.get("milliseconds"):
        # Said and not written: it differs from run to run, and artifacts do not.
        say(
            f"export: {milliseconds(exported, pixels[:1].numpy()):.3g} ms an image on one thread;"
            f" asked {asked[ASKED]:g}, estimated {asked[ESTIMATED]:.3g}"
        )


if __name__ == "__main__":
    run_stage(Params, main)
