"""A reference from a pretrained network: a linear model on its features.

N images, C channels, H x W pixels, F features.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from pipeline.answering.measure import BATCH_SIZE
from pipeline.batches.images import Images
from pipeline.harness.errors import DataError
from pipeline.referencing.problem import Answer, Problem


def frozen_features(problem: Problem) -> Answer:
    """Fit logistic regression to the features of a pretrained network, which is not trained.

    Raises:
        DataError: there is no such network, or its weights are not on this machine.
    """
    assert problem.backbone is not None
    network, transform = read_backbone(problem.backbone)
    network = network.to(problem.training.device)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(
        features(network, transform, problem.training), problem.training.labels.cpu().numpy()
    )
    predicted = classifier.predict(features(network, transform, problem.test))
    return Answer(predicted=predicted, parameters=sum(one.numel() for one in network.parameters()))


def read_backbone(named: str) -> tuple[nn.Module, Any]:
    """Return a network of torchvision and the transform that its images need.

    named: 'resnet18', whose weights torchvision has downloaded before, or 'resnet18:FILE'.

    Raises:
        DataError: the network is unknown, or its weights are missing, damaged or of another one.
    """
    # Two seconds of imports, for a reference that few ask for.
    from torchvision.models import get_model, get_model_weights, list_models  # noqa: PLC0415

    name, _, file = named.partition(":")
    where = f"reference.backbone: {named}"
    if name not in list_models():
        raise DataError(f"{where}: torchvision has no {name}; it has resnet18, convnext_tiny, ...")
    weights = get_model_weights(name).DEFAULT
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    path = Path(file) if file else cached
    if not path.is_file():
        raise DataError(f"{where}: {path}: no such file; nothing is downloaded, so put it there")
    network = get_model(name, weights=None)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{where}: {path}: not the weights of {name}: {reason}") from None
    return network.eval(), weights.transforms(antialias=True)


@torch.no_grad()
def features(network: nn.Module, transform: Any, images: Images) -> NDArray[np.float32]:
    """Return (N, F): the input of the last linear layer, or the output of a network without one."""
    caught: list[Tensor] = []
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if linear:
        linear[-1].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    rows = []
    for pixels in torch.split(images.pixels, BATCH_SIZE):
        rgb = pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
        output = network(transform(rgb.to(images.device)))
        rows.append((caught.pop() if caught else output).flatten(1).cpu())
    return torch.cat(rows).numpy()
