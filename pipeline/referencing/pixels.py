"""References that use scikit-learn on pixels.

N images, D values per image.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from pipeline.batches.images import Images
from pipeline.referencing.problem import Answer, Problem, Untried

MOST_VALUES = 150e6
"""Largest number of training pixel values for logistic regression (some minutes)."""
MOST_PRODUCTS = 300e9
"""Largest number of multiply-adds between images for neighbours and SVC (some minutes)."""


def majority(problem: Problem) -> Answer:
    """Answer with the most frequent class of the training images."""
    most = int(problem.training.labels.bincount(minlength=problem.classes).argmax())
    return Answer(predicted=np.full(len(problem.test), most))


def logistic_regression(problem: Problem) -> Answer | Untried:
    """Fit a linear model to the pixels."""
    if (values := problem.training.pixels.numel()) > MOST_VALUES:
        return _too_many("values", values, MOST_VALUES)
    return _fitted(LogisticRegression(max_iter=1000), problem)


def nearest_neighbour(problem: Problem) -> Answer | Untried:
    """Answer with the class of the training image whose pixels are nearest."""
    images = problem.training
    products = len(problem.test) * images.pixels.numel()
    if products > MOST_PRODUCTS:
        return _too_many("products of pixels", products, MOST_PRODUCTS)
    return _fitted(KNeighborsClassifier(1, algorithm="brute"), problem)


def support_vectors(problem: Problem) -> Answer | Untried:
    """Fit a support vector machine with radial basis functions to the pixels."""
    images = problem.training
    products = len(images) * images.pixels.numel()
    if products > MOST_PRODUCTS:
        return _too_many("products of pixels", products, MOST_PRODUCTS)
    return _fitted(SVC(), problem)


def pixels_of(images: Images) -> NDArray[np.float32]:
    """Return (N, D) pixels as fractions of 255."""
    flat: NDArray[np.float32] = images.pixels.cpu().flatten(1).float().div_(255).numpy()
    return flat


def _fitted(classifier: ClassifierMixin, problem: Problem) -> Answer:
    classifier.fit(pixels_of(problem.training), problem.training.labels.cpu().numpy())
    return Answer(predicted=classifier.predict(pixels_of(problem.test)))


def _too_many(what: str, found: float, most: float) -> Untried:
    return Untried(f"skipped: {found:.1e} {what}, at most {most:.1e} are tried")
