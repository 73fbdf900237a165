"""Drop path keeps the expectation of what each path gives."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.optimizing.dropping import kept_paths


@given(probability=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_each_path_of_each_image_is_dropped_by_itself_and_keeps_its_expectation(
    probability: float, seed: int
) -> None:
    kept = kept_paths(3, 4000, probability, generator(seed, "drop"))
    assert kept.shape == (3, 4000, 1, 1, 1)
    scale = torch.tensor(1 / (1 - probability))
    assert ((kept == 0) | torch.isclose(kept, scale)).all()
    deviation = (probability / (1 - probability) / 4000) ** 0.5
    for path in kept:
        assert 0 < (path == 0).sum() < 4000
        assert abs(path.mean() - 1) < 5 * deviation
    assert not torch.equal(kept[0], kept[1])
