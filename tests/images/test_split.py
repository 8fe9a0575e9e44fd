import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.images.split import stratified_split
from netwright.rng import stream


@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_every_class_gives_its_share(counts, fraction, seed):
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=stream(seed, "order"))]
    chosen, rest = stratified_split(labels, fraction, rng=stream(seed, "split"))
    assert torch.cat([chosen, rest]).sort().values.tolist() == list(range(len(labels)))
    for label, n in enumerate(counts):
        assert (labels[chosen] == label).sum() == min(max(round(n * fraction), 1), n - 1)


def test_a_seed_decides():
    labels = torch.arange(100) % 5
    before = torch.get_rng_state()
    a, b, c = (stratified_split(labels, 0.3, rng=stream(s, "split"))[0] for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_members_are_drawn_from_the_whole_class():
    labels = torch.zeros(20, dtype=torch.long)
    labels[10:] = 1
    hits = torch.zeros(20)
    for seed in range(400):
        hits[stratified_split(labels, 0.2, rng=stream(seed, "split"))[0]] += 1
    # Binomial(400, 0.2): 80 +- 8; five standard deviations.
    assert hits.min() > 40
    assert hits.max() < 120


def test_a_class_that_does_not_occur_is_fine():
    chosen, rest = stratified_split(torch.tensor([0, 0, 2, 2]), 0.5, rng=stream(0, "split"))
    assert len(chosen) == len(rest) == 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5])
def test_a_bad_share_is_named(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        stratified_split(torch.tensor([0, 0, 1, 1]), fraction, rng=stream(0, "split"))


def test_a_single_image_cannot_be_split():
    with pytest.raises(ValueError, match="class 1 has a single image"):
        stratified_split(torch.tensor([0, 0, 1]), 0.5, rng=stream(0, "split"))
