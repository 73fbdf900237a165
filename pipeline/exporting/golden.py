"""Test vectors: images and the model's outputs for them, to check another runtime with.

They have the layout of the test data of ONNX's own operators and models, which tools of many
runtimes read. The images are random, so publishing a model publishes no image of the data set.
"""

import onnx.numpy_helper
import onnxruntime
import torch

from pipeline.batches.randomness import generator
from pipeline.exporting.onnx_file import INPUT, LOGITS, PROBABILITIES, ModelFacts

FOLDER = "test_data_set_0"
IMAGES = 4


def golden_vectors(model: bytes, facts: ModelFacts) -> dict[str, bytes]:
    """Return the files by name: `input_0.pb`, then the outputs in their order.

    Each is a TensorProto with the name of the input or output. The outputs are those of ONNX
    Runtime on a CPU, which has been compared with torch on the test images.
    """
    shape = (IMAGES, facts.height, facts.width, facts.channels)
    source = generator(0, "golden")
    pixels = torch.randint(256, shape, generator=source, dtype=torch.uint8).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run([LOGITS, PROBABILITIES], {INPUT: pixels})
    arrays = {
        "input_0.pb": (pixels, INPUT),
        "output_0.pb": (logits, LOGITS),
        "output_1.pb": (probabilities, PROBABILITIES),
    }
    return {
        file: onnx.numpy_helper.from_array(array, name).SerializeToString(deterministic=True)
        for file, (array, name) in arrays.items()
    }
