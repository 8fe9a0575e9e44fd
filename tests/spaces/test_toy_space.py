"""The toy space: all of it fits on a page."""

import pytest

from netwright.spaces.toy import Toy

SPACE = Toy()


def test_all_chains():
    texts = SPACE.to_text(SPACE.enumerate())
    assert len(set(texts)) == SPACE.size == 27
    assert texts[0] == "identity,identity,identity"
    assert texts[5] == "identity,conv1x1,conv3x3"


def test_neighbours_change_one_operation():
    arch = SPACE.parse(["identity,conv1x1,conv3x3"])
    near = SPACE.neighbours(arch)
    assert len(near) == 6
    assert ((near.ops != arch.ops).sum(dim=1) == 1).all()


@pytest.mark.parametrize("text", ["identity,conv1x1", "identity,conv1x1,conv5x5"])
def test_unreadable_text(text):
    with pytest.raises(ValueError, match="three operations"):
        SPACE.from_text([text])
