"""The exported models in ONNX Runtime against the same model in torch: size, classes, milliseconds.

    python benchmarks/export.py [artifacts] [--rounds 200]

Reads the derived and the exported models of the last run, with int8 and half if it wrote them.
Classes are compared on all test images. Times are medians for batches of 1 and 32, interleaved,
with equally many threads. Prints a table and a JSON line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pipeline.batches.batches import normalise
from pipeline.batches.images import read_images
from pipeline.prepared.facts import read_facts
from pipeline.space.checkpoint import read_checkpoint

BATCHES = (1, 32)
WARMUP = 5
"""Number of first rounds whose times do not count."""

Model = Callable[[Tensor], Tensor]
"""Function from (N, H, W, C) uint8 images to (N, K) probabilities."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="?", type=Path, default=Path("artifacts"))
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch_file = arguments.artifacts / "derive" / "model.safetensors"
    export = arguments.artifacts / "export"
    files = [export / "model.onnx", *sorted((export / "variants").glob("*.onnx"))]
    models = {"torch": in_torch(torch_file, arguments.artifacts / "prepare")}
    models |= {path.stem: in_onnx_runtime(path) for path in files}
    pixels = read_images(arguments.artifacts / "prepare", "test", "cpu").pixels
    images = pixels.permute(0, 2, 3, 1).contiguous()
    classes = {name: classes_of(model, images) for name, model in models.items()}
    measured: dict[str, dict[str, float]] = {
        name: {
            "bytes": path.stat().st_size,
            "as torch": (classes[name] == classes["torch"]).double().mean().item(),
            "as model": (classes[name] == classes["model"]).double().mean().item(),
        }
        for name, path in zip(models, [torch_file, *files], strict=True)
    }
    for batch in BATCHES:
        for name, median in milliseconds(models, images[:batch], arguments.rounds).items():
            measured[name][f"ms for {min(batch, len(images))}"] = median
    show(measured)
    print(json.dumps({"threads": torch.get_num_threads(), "models": measured}))


def in_torch(path: Path, prepare: Path) -> Model:
    """Return the derived network, run eagerly."""
    facts = read_facts(prepare)
    network = read_checkpoint(path).network.eval()
    mean, std = torch.tensor(facts.mean), torch.tensor(facts.std)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        logits: Tensor = network(normalise(images.permute(0, 3, 1, 2), mean, std))
        return logits.softmax(-1)

    return run


def in_onnx_runtime(path: Path) -> Model:
    """Return an exported model that uses as many threads as torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return partial(_run, session)


def classes_of(model: Model, images: Tensor) -> Tensor:
    """Return (N,) likeliest classes."""
    return torch.cat([model(batch).argmax(1) for batch in images.split(max(BATCHES))])


def milliseconds(models: Mapping[str, Model], images: Tensor, rounds: int) -> dict[str, float]:
    """Return each model's median time for one batch; models take turns, for equal noise."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(WARMUP + rounds):
        for name, model in models.items():
            began = time.perf_counter()
            model(images)
            taken[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(times[WARMUP:]) for name, times in taken.items()}


def show(measured: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row for each model."""
    table = Table("model", "bytes", "same class as torch", "same class as model.onnx")
    times = [name for name in measured["torch"] if name.startswith("ms")]
    for name in times:
        table.add_column(name)
    for model, row in measured.items():
        agreement = (f"{row[other]:.2%}" for other in ("as torch", "as model"))
        table.add_row(
            model, f"{row['bytes']:,}", *agreement, *(f"{row[name]:.2f}" for name in times)
        )
    Console(stderr=True).print(table)


def _run(session: onnxruntime.InferenceSession, images: Tensor) -> Tensor:
    return torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])


if __name__ == "__main__":
    main()
