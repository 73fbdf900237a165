"""A search on a few images, from a checkpoint as warmup leaves it."""

from itertools import islice

import torch

from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState, start
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.harness.records import Row
from pipeline.searching.search import architecture_step, epochs
from pipeline.space.checkpoint import Checkpoint
from pipeline.supernet.supernet import SearchImages
from pipeline.training.params import TrainingParams
from tests.conftest import random_images, search_images, tiny, tiny_network

IMAGES = search_images()
PLAIN = tiny(AugmentationParams, crop_padding=0, flip=False, cutout=0)


def warmed() -> Checkpoint:
    logits = torch.randn(2, 5, 4, generator=generator(0, "logits"))
    return Checkpoint(network=tiny_network(), logits=logits, facts={"epoch": 5})


def begin(params: SearchParams, images: SearchImages = IMAGES, seed: int = 0) -> SearchState:
    return start(warmed(), params, tiny(TrainingParams), images=len(images.training), seed=seed)


def search(
    state: SearchState,
    params: SearchParams,
    images: SearchImages = IMAGES,
    *,
    most: int = 99,
    seed: int = 0,
    training: TrainingParams | None = None,
) -> list[Row]:
    """Run at most so many epochs."""
    rows = epochs(
        state,
        images,
        params=params,
        training=training or tiny(TrainingParams),
        augmentation=PLAIN,
        seed=seed,
    )
    return list(islice(rows, most))


def one_architecture_step(
    state: SearchState, params: SearchParams, seed: int = 0, beta: float = 0.0
) -> None:
    images = random_images(8)
    architecture_step(
        state,
        images.pixels.float() / 255,
        images.labels,
        params=params,
        gradient_clip=1e3,
        source=generator(seed, "architecture"),
        beta=beta,
    )
