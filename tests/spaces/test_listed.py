"""A space cut down to some of its members."""

import pytest
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.base import Fresh
from netwright.spaces.listed import Listed
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.testing.spaces import SPACE_CHECKS

TOY = Toy()
SOME = TOY.enumerate()[torch.tensor([3, 5, 8, 13, 21])]


@pytest.mark.parametrize("check", SPACE_CHECKS.values(), ids=SPACE_CHECKS.keys())
def test_contract(check):
    # All of the toy space but its last two: edits of a member are mostly members.
    check(Listed(TOY, TOY.enumerate()[:25]))


def test_members_are_those_listed():
    space = Listed(TOY, SOME)
    assert space.size == 5
    assert space.is_valid(TOY.enumerate()).nonzero()[:, 0].tolist() == [3, 5, 8, 13, 21]
    assert space.invalid_reason(TOY.enumerate()[:1]) == (
        "not in toy; rule broken: is one of those listed"
    )
    assert space.to_text(space.enumerate()) == TOY.to_text(SOME)


def test_they_are_drawn_with_equal_chance():
    space = Listed(TOY, SOME)
    drawn = space.to_text(space.sample(5000, rng=stream(0, "draw")))
    counts = [drawn.count(text) for text in TOY.to_text(SOME)]
    assert sum(counts) == 5000
    assert all(abs(count - 1000) < 150 for count in counts)  # five standard deviations


def test_all_can_be_proposed_and_no_more():
    found = Fresh(Listed(TOY, SOME)).random(9, rng=stream(0, "x"))
    assert sorted(TOY.to_text(found.archs)) == sorted(TOY.to_text(SOME))


def test_isomorphic_cells_count_once():
    whole = NASBench101()
    text = "input,conv1x1-bn-relu,conv3x3-bn-relu,output:0110000100010000"
    other = "input,conv3x3-bn-relu,conv1x1-bn-relu,output:0110000100010000"
    space = Listed(whole, whole.from_text([text, other]))
    assert space.size == 1
    assert bool(space.is_valid(whole.from_text([other])).all())


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="needs at least one"):
        Listed(TOY, ArchitectureBatch.empty(3))
