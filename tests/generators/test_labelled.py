"""What a generator learns from, and the guard against held-out labels."""

import math

import pytest
import torch

from netwright.generators.labelled import Labelled, insist_apart
from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101(max_nodes=5)
CELLS = SPACE.enumerate()


def test_one_score_for_each():
    assert len(Labelled(CELLS[:3], torch.rand(3))) == 3
    with pytest.raises(ValueError, match=r"2 scores for 3 graphs: give one for each$"):
        Labelled(CELLS[:3], torch.rand(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_are_finite(bad):
    with pytest.raises(ValueError, match=r"^1 of 3 scores are NaN or infinite"):
        Labelled(CELLS[:3], torch.tensor([0.5, bad, 0.7]))


class TestGuard:
    """However a held-out architecture is stored, its label is refused."""

    def test_apart(self):
        keys = hashing.keys(CELLS)
        insist_apart(keys[100:], keys[:100])
        insist_apart(keys[:0], keys)
        insist_apart(keys, keys[:0])

    def test_the_number_is_named(self):
        keys = hashing.keys(CELLS)
        with pytest.raises(ValueError, match=r"^7 of 200 labels are of held-out architectures"):
            insist_apart(keys[:200], keys[193:].flip(0))  # in any order

    def test_isomorphic_drawings(self):
        rng = stream(0, "orders")
        moved = dag.reorder(CELLS, dag.random_order(CELLS, rng=rng))
        other = (~moved.equal(CELLS)).nonzero()[:, 0]
        assert len(other) > 100  # the test does see other drawings
        for i in other[:20].tolist():
            labelled = ArchitectureBatch.cat([CELLS[:i], CELLS[i + 1 :], moved[i : i + 1]])
            held_out = hashing.keys(CELLS[i : i + 1])
            insist_apart(hashing.keys(labelled[:-1]), held_out)
            with pytest.raises(ValueError, match=r"^1 of \d+ labels"):
                insist_apart(hashing.keys(labelled), held_out)
