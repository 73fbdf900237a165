"""The model card: what somebody needs who has only the exported files.

The text is decided by its arguments alone: the same model gives the same card.
"""

import json
from collections.abc import Mapping, Sequence

from pipeline.comparison.references import References, sentence
from pipeline.exporting.architecture import table
from pipeline.exporting.golden import FOLDER, IMAGES
from pipeline.exporting.onnx_file import INPUT, IR_VERSION, LOGITS, OPSET, PROBABILITIES, ModelFacts
from pipeline.exporting.parity import BATCH_SIZES, SINGLY, Parity
from pipeline.exporting.variants import Variant
from pipeline.prepared.facts import RESAMPLING

VARIANTS = "variants"
"""The folder of the smaller models, beside `model.onnx`, and of `variants.json`, their list."""

TAGS = ("image-classification", "neural-architecture-search", "onnx")

GOLDEN = f"""\
`{FOLDER}/` holds {IMAGES} images and what ONNX Runtime answers to them on a CPU, laid out as
the test data of ONNX's own models: `input_0.pb` ({INPUT}), `output_0.pb` ({LOGITS}) and
`output_1.pb` ({PROBABILITIES}), each a TensorProto."""

OPAQUE = (
    "For opaque images of 8 bits. As in training, `predicting.py` of the project also lays"
    " transparency on white and\nscales 16 bits to 8."
)

ONE_SIZE = "It takes one size of images; bring what is smaller or larger to it as in the example."
ANY_SIZE = (
    "It takes images of any size, in at least four bytes of memory for each of their values; turn"
    " them upright, and mind that it sees the largest part of its own shape from the middle alone."
)
LIMITS = """\
- It knows only the classes above and always answers with one of them, even to a blank image.
- The metrics hold for images like the test split's; measure on your own before you rely on it.
- Probabilities are those of a softmax and have not been calibrated.
- {size}
- Parity was measured on a CPU; other execution providers of ONNX Runtime round differently.
- The licence depends on the images that the model was trained on; whoever publishes it sets it."""


def model_card(
    facts: ModelFacts,
    metrics: Mapping[str, object],
    parity: Parity,
    *,
    architecture: str,
    resizing: int | None = None,
    dataset: str,
    variants: Sequence[Variant],
    references: References,
) -> str:
    """Return the text of `model_card.md`.

    Args:
        facts: of the exported model.
        metrics: what derive wrote: name -> number, and `accuracy_by_class`: class -> fraction.
            Those called `test_...` and the accuracies of the classes are of the test split.
        parity: as measured on the test split.
        architecture: in Markdown, as `architecture_of` tells it.
        resizing: by how many levels of 255 the model's own differs from Pillow's at most, as
            measured; None for a model that takes one size.
        dataset: name of the data set.
        variants: smaller models that are written beside it.
        references: what it was compared with.
    """
    sections = {
        "Input and outputs": _contract(facts),
        "Use": f"```python\n{_snippet(facts)}\n```\n\n{OPAQUE}",
        "Metrics": _metrics(metrics),
        "Compared with": _references(references),
        "Classes": _classes(facts, metrics),
        "Architecture": architecture,
        "Agreement with PyTorch": _parity(parity) + _resizing(resizing),
        "Agreement of your runtime": GOLDEN,
        "Smaller models": _variants(variants),
        "Origin": table(("made from", "sha256"), sorted(facts.digests.items())),
        "Limits": LIMITS.format(size=ANY_SIZE if facts.any_size else ONE_SIZE),
    }
    introduction = (
        f"# Image classifier with {len(facts.classes)} classes\n\n"
        "A convolutional network whose architecture was found by differentiable architecture search"
        " (ASO-SE).\n`model.onnx` takes raw pixels and returns the probability of each class."
    )
    body = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join([_front_matter(metrics, dataset), introduction, *body]) + "\n"


def model_json(facts: ModelFacts) -> str:
    """Return the metadata of the ONNX file as JSON: ONNX Runtime in a browser does not show it."""
    return json.dumps(facts.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def variants_json(variants: Sequence[Variant]) -> str:
    """Return the list of the smaller models as JSON, for programs that choose one; it may be empty.

    DVC warns of an empty folder, so the list is there also where no smaller model was asked for.
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


def _front_matter(metrics: Mapping[str, object], dataset: str) -> str:
    """Return what Hugging Face reads. The licence is not ours to choose."""
    tags = "".join(f"\n  - {tag}" for tag in TAGS)
    front = f"""\
---
license: other
license_name: depends-on-the-training-images
library_name: onnx
pipeline_tag: image-classification
tags:{tags}
metrics:
  - accuracy"""
    if "test_accuracy" in metrics:
        front += f"""
model-index:
  - name: classifier
    results:
      - task:
          type: image-classification
        dataset:
          name: {dataset}
          type: {dataset}
          split: test
        metrics:
          - type: accuracy
            value: {metrics["test_accuracy"]:.4f}"""
    return f"{front}\n---"


def _contract(facts: ModelFacts) -> str:
    sides = "H, W" if facts.any_size else f"{facts.height}, {facts.width}"
    size = f"{sides}, {facts.channels}"
    scores = f"(N, {len(facts.classes)})"
    order = "grey" if facts.channels == 1 else "red, green, blue"
    inputs_and_outputs = table(
        ("", "name", "type", "shape", "meaning"),
        [
            ("input", f"`{INPUT}`", "uint8", f"(N, {size})", f"rows of pixels, 0 to 255, {order}"),
            ("output", f"`{LOGITS}`", "float32", scores, "scores before the softmax"),
            ("output", f"`{PROBABILITIES}`", "float32", scores, "sum to 1 for each image"),
        ],
    )
    return f"""\
{inputs_and_outputs}

{_sizes(facts)} Normalisation is inside, so give it pixels as they come; it was trained on a mean of
{_numbers(facts.mean)} and a standard deviation of {_numbers(facts.std)}, of pixels in 0 to 1.
Opset {OPSET}, IR version {IR_VERSION}, no external data. Classes, normalisation and genotype are
JSON in the file's metadata and, for browsers, in `model.json`."""


def _sizes(facts: ModelFacts) -> str:
    own = f"{facts.height} x {facts.width}"
    if not facts.any_size:
        return f"N is free, H x W is {own}."
    return (
        f"N, H and W are free, H and W the same for all images of a batch: the model brings them to"
        f" {own}\nas training did, cropped at the centre and scaled bicubically with antialiasing;"
        f" images of {own} it takes\nas they are."
    )


def _snippet(facts: ModelFacts) -> str:
    """Return a program that names the classes of an image file, resized as for training."""
    mode = "L" if facts.channels == 1 else "RGB"
    size = f"({facts.width}, {facts.height})"
    fit = f"\nimage = ImageOps.fit(image, {size}, Image.Resampling.{RESAMPLING})"
    resize = "" if facts.any_size else fit
    return f"""\
import json, sys
import numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("{mode}"){resize}
pixels = numpy.asarray(image).reshape(1, image.height, image.width, {facts.channels})
[probabilities] = session.run(["{PROBABILITIES}"], {{"{INPUT}": pixels}})[0]
for index in probabilities.argsort()[::-1][:3]:
    print(f"{{probabilities[index]:.1%}} {{classes[index]}}")"""


def _metrics(metrics: Mapping[str, object]) -> str:
    rows = [
        (name, _number(value), "the test split" if name.startswith("test_") else "the network")
        for name, value in metrics.items()
        if isinstance(value, int | float)
    ]
    return (
        f"{table(('metric', 'value', 'of'), rows)}\n\n"
        "Neither a weight nor the architecture depends on the test split. Whether a smaller model"
        " is good enough, and which of\nseveral runs' models is kept, may."
    )


def _references(references: References) -> str:
    if not references.compared:
        return ""
    rows = [
        (
            one.title,
            f"{one.test_accuracy:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
            one.verdict,
            "" if one.parameters is None else f"{one.parameters:,}",
            "" if one.epochs is None else one.epochs,
        )
        for one in references.compared
    ]
    head = (
        *("reference", "accuracy on the test split", "95 % interval", "this model is"),
        *("parameters", "epochs"),
    )
    return (
        f"{sentence(references)}\n\n{table(head, rows)}\n\n"
        "All were trained and tested on the same images. This model is better or worse where"
        " McNemar's exact test says p < 0.05."
    )


def _classes(facts: ModelFacts, metrics: Mapping[str, object]) -> str:
    accuracies = metrics.get("accuracy_by_class")
    if not isinstance(accuracies, Mapping):
        return table(("index", "class"), enumerate(facts.classes))
    rows = [(i, name, _number(accuracies[name])) for i, name in enumerate(facts.classes)]
    return table(("index", "class", "accuracy on the test split"), rows)


def _parity(parity: Parity) -> str:
    *smaller, largest = BATCH_SIZES
    # One digit: the last bits depend on the processor, and the card shall not.
    return (
        f"On all {parity.images:,} images of the test split, in batches of"
        f" {', '.join(map(str, smaller))} and {largest} (single ones: at most {SINGLY}),\n"
        f"ONNX Runtime's logits differ from PyTorch's by at most {parity.max_difference:.0e};"
        f" the predicted class is the same for {parity.agreement:.2%}."
    )


def _resizing(levels: int | None) -> str:
    if levels is None:
        return ""
    return (
        f"\nNoise of three shapes, none taller than wide, that the model resizes differs from what"
        f" Pillow makes of it by at most\n{levels} of 255 levels."
    )


def _variants(variants: Sequence[Variant]) -> str:
    if not variants:
        return ""
    rows = [
        (
            f"`{VARIANTS}/{variant_file(one)}`",
            _number(len(one.content)),
            _number(one.accuracy),
            f"{one.agreement:.2%}",
        )
        for one in variants
    ]
    head = ("file", "bytes", "accuracy on the test split", "same class as `model.onnx`")
    return (
        f"{table(head, rows)}\n\n"
        "Inputs, outputs and metadata are those of `model.onnx`; logits and probabilities differ."
        " `int8`: QDQ, weights per channel,\ncalibrated on training images. `half`: float16"
        " inside, for GPUs; on a CPU it is slower than `model.onnx`."
    )


def _number(value: object) -> str:
    return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
