"""The exported model in ONNX Runtime against the same model in torch, milliseconds per batch.

    python benchmarks/export.py [artifacts] [--rounds 200]

Reads the derived and the exported model of the last run. Batches of 1 and 32, interleaved, medians,
as many threads for both. Prints a table and a JSON line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from pipeline.data.batches import normalise
from pipeline.exchange.checkpoint import read_checkpoint
from pipeline.exchange.dataset import read_facts


def milliseconds(model: Callable[[torch.Tensor], object], pixels: torch.Tensor) -> float:
    """Return how long a model takes for a batch."""
    began = time.perf_counter()
    model(pixels)
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="?", type=Path, default=Path("artifacts"))
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    facts = read_facts(arguments.artifacts / "prepare")
    network = read_checkpoint(arguments.artifacts / "derive" / "model.safetensors").network.eval()
    mean, std = torch.tensor(facts.mean), torch.tensor(facts.std)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(arguments.artifacts / "export" / "model.onnx", options)

    @torch.inference_mode()
    def eager(pixels: torch.Tensor) -> object:
        return network(normalise(pixels.permute(0, 3, 1, 2), mean, std)).softmax(-1)

    def exported(pixels: torch.Tensor) -> object:
        return session.run(None, {"images": pixels.numpy()})

    medians = {}
    for batch in (1, 32):
        shape = (batch, facts.height, facts.width, facts.channels)
        pixels = torch.randint(256, shape, dtype=torch.uint8)
        taken: dict[str, list[float]] = {"torch": [], "onnxruntime": []}
        for number in range(arguments.rounds + 5):
            one, other = milliseconds(eager, pixels), milliseconds(exported, pixels)
            if number >= 5:
                taken["torch"].append(one)
                taken["onnxruntime"].append(other)
        medians[batch] = {name: statistics.median(values) for name, values in taken.items()}
    table = Table("batch", "torch ms", "ONNX Runtime ms", "ratio")
    for batch, row in medians.items():
        ratio = row["torch"] / row["onnxruntime"]
        table.add_row(
            str(batch), f"{row['torch']:.2f}", f"{row['onnxruntime']:.2f}", f"{ratio:.1f}"
        )
    Console(stderr=True).print(table)
    print(json.dumps({"threads": torch.get_num_threads(), "milliseconds": medians}))


if __name__ == "__main__":
    main()
