"""Derive: extract the final network, calibrate it and test it once on unseen images.

    python -m stages.derive artifacts/prepare artifacts/optimize artifacts/derive

Writes the model, its genotype, the test metrics, one row per test image (its class, the predicted
class and the probability of that), and a list of the images that are most likely mislabelled.
"""

from pathlib import Path

from pipeline.answering.measure import measure, predict_held_out, predictions
from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.costing.cost import cost
from pipeline.deriving.calibration import fit, measure_calibration, probabilities
from pipeline.deriving.suspects import find_suspects, write_suspects
from pipeline.devices.device import choose_device
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section
from pipeline.prepared.facts import read_facts
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


class Params(Section):
    """No params: the result depends on the inputs only."""


def main(_params: Params, prepare: Path, optimize: Path, out: Path) -> None:
    """Extract the network, calibrate it and test it."""
    facts = read_facts(prepare)
    trained = read_checkpoint(optimize / "checkpoint.safetensors", choose_device())
    trained.require_fit("optimize", channels=facts.channels, classes=len(facts.classes))
    genotype = trained.decided()
    network = trained.network.eval()
    held_out = predict_held_out(trained, prepare)
    # A network is surer of images that it was trained on: they would give too small a temperature.
    calibration = fit(*held_out["validation"]) if "validation" in held_out else None

    logits, labels = held_out["test"]
    size = cost(network.blueprint, genotype, (facts.height, facts.width))
    metrics = {
        **measure(logits, labels, facts.classes),
        **measure_calibration(calibration, logits, labels),
        "test_images": len(labels),
        "parameters": size.parameters,
        "mflops": size.mflops,
    }

    suspects = find_suspects(trained, prepare, optimize / "margins.safetensors", held_out)

    # The model's checksum covers the metrics, which export writes into the model card.
    model = Checkpoint.of(network, facts={"stage": "derive", "metrics": metrics})
    write_checkpoint(out / "model.safetensors", model)
    write_atomically(out / "genotype.json", genotype.to_json().encode())
    write_json(out / "metrics.json", metrics)
    write_suspects(out / "suspects.csv", suspects, facts.classes)
    found = probabilities(logits, calibration.temperature if calibration else 1.0)
    write_history(out / "confusion.tsv", predictions(logits, found, labels, facts.classes))
    say(f"derive: test accuracy {metrics['test_accuracy']:.2%} on {len(labels)} images")


if __name__ == "__main__":
    run_stage(Params, main)
