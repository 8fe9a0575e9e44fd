import pytest
import torch
from independent import Chains, Independent, Invalid

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

TOY = Toy()


def test_proposals_are_simplified_before_they_are_compared():
    space = Chains(2)  # nine texts, four architectures
    fresh = Fresh(space)
    found = fresh.fill(9, lambda n: Proposals.of(Chains(2).from_text(["cc", "bb"] * n), "test"))
    assert space.to_text(found.archs) == ["bb"]
    assert not fresh.unseen(space.from_text(["bb"])).any()


def test_counts_what_was_drawn_invalid_and_repeated():
    fresh = Fresh(TOY, max_draws=1)
    bad = Invalid(TOY.layout, rng=stream(0, "x")).sample(2, rng=stream(0, "x"))
    good = TOY.enumerate()[torch.tensor([0, 1, 1, 2])]
    both = Proposals.cat([Proposals.of(bad, "bad"), Proposals.of(good, "good")])
    found = fresh.fill(5, lambda _: both)
    assert (fresh.drawn, fresh.invalid, fresh.repeated) == (6, 2, 1)
    assert found.origin == ("good",) * 3


@pytest.mark.parametrize("n", [1, 7, 300])
def test_gives_up_after_max_draws_for_each_that_is_wanted(n):
    fresh, known, asked = Fresh(TOY, max_draws=100), TOY.enumerate()[:1], []
    fresh.add(known)

    def draw(m):
        asked.append(m)
        return Proposals.of(known[torch.zeros(m, dtype=torch.long)], "x")

    assert len(fresh.fill(n, draw)) == 0
    assert sum(asked) == 100 * n
    assert len(asked) < 40, "few large draws"


def test_does_not_propose_more_than_wanted_and_forgets_the_rest():
    fresh = Fresh(TOY)
    found = fresh.fill(2, lambda _: Proposals.of(TOY.enumerate(), "x"))
    assert len(found) == 2
    assert int(fresh.unseen(TOY.enumerate()).sum()) == 25


def test_the_last_of_a_large_space_are_listed():
    space = NASBench201()
    everything = space.enumerate()
    left = torch.tensor([17, 4_000, 15_000])
    told = torch.ones(len(everything), dtype=torch.bool)
    told[left] = False
    fresh = Fresh(space)
    fresh.add(everything[told])
    rng = stream(0, "searcher")
    found = [fresh.random(1, rng=rng).archs, fresh.random(5, rng=rng).archs]
    assert [len(archs) for archs in found] == [1, 2]
    assert set(space.to_text(ArchitectureBatch.cat(found))) == set(space.to_text(everything[left]))
    assert len(fresh.random(1, rng=rng)) == 0


def test_the_last_are_drawn_in_random_order():
    """Not the first that the list has, whatever the random stream."""
    firsts = set()
    for seed in range(10):
        fresh = Fresh(TOY, max_draws=0)  # straight to the list
        firsts.update(TOY.to_text(fresh.random(1, rng=stream(seed, "searcher")).archs))
    assert len(firsts) > 4


def test_a_space_that_cannot_be_listed_is_exhausted_too():
    space = Chains(6)  # 64 architectures, the rarest drawn once in 729
    fresh, rng = Fresh(space), stream(0, "searcher")
    found = torch.cat([hashing.keys(fresh.random(1, rng=rng).archs) for _ in range(64)])
    assert len(found.unique(dim=0)) == 64
    assert len(fresh.random(1, rng=rng)) == 0


def test_what_is_told_is_simplified_padded_and_checked():
    space = Chains(3)
    fresh = Fresh(space)
    archs, score = fresh.admit(space.from_text(["abc"]).pad(5), torch.tensor([0.5]))
    assert archs.max_nodes == 3
    assert space.to_text(archs) == ["abb"]
    assert score.tolist() == [0.5]
    bad = Invalid(space.layout, rng=stream(0, "x")).sample(1, rng=stream(0, "x"))
    with pytest.raises(ValueError, match="every fixed edge"):
        fresh.admit(bad, torch.zeros(1))
    with pytest.raises(ValueError, match="1 architectures but 2 scores"):
        fresh.admit(archs, torch.zeros(2))


def test_a_restored_one_knows_what_was_seen():
    fresh, again = Fresh(TOY), Fresh(TOY)
    policy = Independent(TOY.layout, rng=stream(0, "x"))
    fresh.fill(9, lambda n: Proposals.of(policy.sample(n, rng=stream(0, "y")), "x"))
    again.random(27, rng=stream(0, "z"))
    again.load_state_dict(fresh.state_dict())
    assert torch.equal(again.unseen(TOY.enumerate()), fresh.unseen(TOY.enumerate()))
    for counter in ("drawn", "invalid", "repeated"):
        assert getattr(again, counter) == getattr(fresh, counter)


def test_what_is_equivalent_to_a_proposal_is_simplified_when_told():
    space = Chains(2)
    fresh = Fresh(space)
    fresh.fill(1, lambda n: Proposals.of(space.from_text(["bb"] * n), "test"))
    told, _ = fresh.admit(space.from_text(["bb", "cc"]), torch.zeros(2))
    assert space.to_text(told) == ["bb", "bb"]
