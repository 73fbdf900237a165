"""The files of an export: the model and what explains it."""

import shutil
from dataclasses import asdict
from pathlib import Path

from pipeline.exporting.card import (
    VARIANTS,
    Export,
    model_card,
    model_json,
    variant_file,
    variants_json,
)
from pipeline.exporting.golden import FOLDER, golden_vectors
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_json


def write_export(out: Path, export: Export) -> None:
    """Write the model, its facts, its card, its golden vectors, the smaller models and metrics."""
    write_atomically(out / "model.onnx", export.model)
    write_atomically(out / "model.json", model_json(export.facts).encode())
    write_atomically(out / "model_card.md", model_card(export).encode())
    for file, content in golden_vectors(export.model, export.facts).items():
        write_atomically(out / FOLDER / file, content)
    shutil.rmtree(out / VARIANTS, ignore_errors=True)
    write_atomically(out / VARIANTS / "variants.json", variants_json(export.variants).encode())
    measured = {**asdict(export.parity), "onnx_bytes": len(export.model)}
    if export.resizing is not None:
        measured["resizing_levels"] = export.resizing
    if export.asked:
        measured["target"] = export.asked
    for one in export.variants:
        write_atomically(out / VARIANTS / variant_file(one), one.content)
        measured |= one.metrics()
    write_json(out / "metrics.json", measured)
