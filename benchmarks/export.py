"""The exported models in ONNX Runtime against the same model in torch, milliseconds per batch.

    python benchmarks/export.py [artifacts] [--rounds 200]

Reads the derived and the exported models of the last run, int8 and half too if it wrote them.
Batches of 1 and 32, interleaved, medians, as many threads for all. Prints a table and a JSON line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
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
    export = arguments.artifacts / "export"
    sessions = {
        path.stem: onnxruntime.InferenceSession(path, options)
        for path in [export / "model.onnx", *sorted((export / "variants").glob("*.onnx"))]
    }

    @torch.inference_mode()
    def eager(pixels: torch.Tensor) -> object:
        return network(normalise(pixels.permute(0, 3, 1, 2), mean, std)).softmax(-1)

    def exported(session: onnxruntime.InferenceSession, pixels: torch.Tensor) -> object:
        return session.run(None, {"images": pixels.numpy()})

    models: dict[str, Callable[[torch.Tensor], object]] = {"torch": eager}
    models |= {name: partial(exported, session) for name, session in sessions.items()}
    medians = {}
    for batch in (1, 32):
        shape = (batch, facts.height, facts.width, facts.channels)
        pixels = torch.randint(256, shape, dtype=torch.uint8)
        taken: dict[str, list[float]] = {name: [] for name in models}
        for number in range(arguments.rounds + 5):
            for name, model in models.items():
                spent = milliseconds(model, pixels)
                if number >= 5:
                    taken[name].append(spent)
        medians[batch] = {name: statistics.median(values) for name, values in taken.items()}
    table = Table("batch", *(f"{name} ms" for name in models))
    for batch, row in medians.items():
        table.add_row(str(batch), *(f"{row[name]:.2f}" for name in models))
    Console(stderr=True).print(table)
    print(json.dumps({"threads": torch.get_num_threads(), "milliseconds": medians}))


if __name__ == "__main__":
    main()
