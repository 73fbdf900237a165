"""The model card: what a person needs to know who has only the exported files.

`card.md` is the template; this module fills it. The text depends only on the arguments, so the same
model gives the same card.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from pipeline.comparison.references import References, sentence
from pipeline.exporting import golden
from pipeline.exporting.architecture import table
from pipeline.exporting.asked import ASKED, ESTIMATED, MEASURED, Asked
from pipeline.exporting.exporter import OPSET
from pipeline.exporting.onnx_file import INPUT, IR_VERSION, LOGITS, PROBABILITIES, ModelFacts
from pipeline.exporting.parity import BATCH_SIZES, SINGLY, Parity
from pipeline.exporting.variants import Variant
from pipeline.harness.showing import code
from pipeline.prepared.facts import RESAMPLING

TEMPLATE = Path(__file__).with_name("card.md")
VARIANTS = "variants"
"""Folder beside `model.onnx` with the smaller models and `variants.json`, their list."""
FITTED = {"temperature", "unsure_below"}
"""Metrics that were fitted on the validation split."""
MEASURES = ("precision", "recall", "f1")
"""Measures of a class on the test split, in the order of their columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An exported model and all that its card says of it.

    Attributes:
        facts: facts of the exported model.
        metrics: metrics of derive: name -> number, and `measures_by_class`: class -> precision,
            recall and F1. Names with `test_` and the measures of the classes are of the test split.
        parity: agreement with torch on the test split.
        architecture: text in Markdown, from `architecture_of`.
        resizing: largest measured difference between the model's resizing and Pillow's, in levels
            of 0 to 255; None for a model that takes one size.
        dataset: name of the data set.
        variants: smaller models that are written beside the model.
        references: models that it was compared with.
        asked: costs that the target limits, as asked, estimated and measured.
        model: the bytes of the ONNX file.
    """

    facts: ModelFacts
    metrics: Mapping[str, Any]
    parity: Parity
    architecture: str
    resizing: int | None = None
    dataset: str
    variants: Sequence[Variant] = ()
    references: References = field(default_factory=References)
    asked: Asked = field(default_factory=dict)
    model: bytes = b""


def model_card(export: Export) -> str:
    """Return the text of `model_card.md`."""
    facts, metrics, references = export.facts, export.metrics, export.references
    environment = jinja2.Environment(  # noqa: S701 - Markdown, whose tables escape what they hold
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["numbers"] = lambda values: ", ".join(f"{value:.4f}" for value in values)
    *smaller, largest = BATCH_SIZES
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        facts=facts,
        metrics=metrics,
        references=references,
        parity=export.parity,
        architecture=export.architecture,
        resizing=export.resizing,
        dataset=export.dataset,
        who_wins=sentence(references),
        table=table,
        contract=list(_contract(facts)),
        measured=list(_measured(metrics)),
        asked=list(_asked(export.asked)),
        timed="milliseconds" in export.asked,
        compared=list(_compared(references)),
        classes=list(_classes(facts, metrics)),
        by_class="measures_by_class" in metrics,
        smaller=[_variant(one) for one in export.variants],
        own_size=f"{facts.height} x {facts.width}",
        opset=OPSET,
        ir_version=IR_VERSION,
        resampling=RESAMPLING,
        outputs={"input": INPUT, "logits": LOGITS, "probabilities": PROBABILITIES},
        golden={"folder": golden.FOLDER, "images": golden.IMAGES},
        smaller_batches=", ".join(map(str, smaller)),
        largest_batch=largest,
        singly=SINGLY,
    )


def model_json(facts: ModelFacts) -> str:
    """Return the ONNX file's metadata as JSON, which ONNX Runtime does not show in a browser."""
    return json.dumps(facts.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def variants_json(variants: Sequence[Variant]) -> str:
    """Return the list of smaller models as JSON, for programs that choose one; it may be empty.

    DVC warns about an empty folder, so the list is written even without any smaller model.
    """
    rows = [
        {
            "file": variant_file(one),
            "bytes": len(one.content),
            "accuracy": one.accuracy,
            "agreement": one.agreement,
        }
        for one in variants
    ]
    return json.dumps(rows, indent=2) + "\n"


def variant_file(variant: Variant) -> str:
    """Return the name of a smaller model's file."""
    return f"model.{variant.name}.onnx"


def _contract(facts: ModelFacts) -> Iterator[tuple[str, ...]]:
    sides = "H, W" if facts.any_size else f"{facts.height}, {facts.width}"
    scores = f"(N, {len(facts.classes)})"
    order = "grey" if facts.channels == 1 else "red, green, blue"
    pixels = f"(N, {sides}, {facts.channels})"
    yield "input", code(INPUT), "uint8", pixels, f"rows of pixels, 0 to 255, {order}"
    yield "output", code(LOGITS), "float32", scores, "scores before the softmax"
    yield "output", code(PROBABILITIES), "float32", scores, "sum to 1 for each image"


def _measured(metrics: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in metrics.items():
        if isinstance(value, int | float):
            tested = "the test split" if name.startswith("test_") else "the network"
            yield name, _number(value), "the validation split" if name in FITTED else tested


def _asked(asked: Asked) -> Iterator[tuple[str, ...]]:
    for name, values in asked.items():
        shown = (values.get(column) for column in (ASKED, ESTIMATED, MEASURED))
        yield name, *("" if one is None else f"{one:,.6g}" for one in shown)


def _compared(references: References) -> Iterator[tuple[object, ...]]:
    for one in references.compared:
        yield (
            one.title,
            f"{one.test_accuracy:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
            one.verdict,
            "" if one.parameters is None else f"{one.parameters:,}",
            "" if one.epochs is None else one.epochs,
        )


def _classes(facts: ModelFacts, metrics: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    measures = metrics.get("measures_by_class", {})
    for index, name in enumerate(facts.classes):
        yield index, name, *(_number(measures[name][one]) for one in MEASURES if measures)


def _variant(one: Variant) -> tuple[str, ...]:
    file = code(f"{VARIANTS}/{variant_file(one)}")
    return file, _number(len(one.content)), _number(one.accuracy), f"{one.agreement:.2%}"


def _number(value: float) -> str:
    return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
