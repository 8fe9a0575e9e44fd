import torch
from independent import Chains, Independent, Stuck

from netwright.rng import stream
from netwright.searchers.random import RandomSearch
from netwright.spaces.toy import Toy

SPACE = Toy()


def test_draws_from_the_space():
    space, rng = Chains(12), stream(0, "searcher")
    found = RandomSearch(space).ask(500, rng=rng)
    assert set(found.origin) == {"random"}
    shares = found.archs.ops.float().mean(dim=0)  # each operation is 1 with probability 2/3
    torch.testing.assert_close(shares, torch.full((12,), 2 / 3), atol=0.09, rtol=0)


def test_draws_from_a_generator():
    space, rng = Chains(12), stream(0, "searcher")
    generator = Independent(space.layout, rng=rng)
    with torch.no_grad():
        generator.logits.copy_(torch.tensor([2.0, 0.0, 0.0]))
    found = RandomSearch(space, generator=generator).ask(500, rng=rng)
    assert set(found.origin) == {"generator"}
    # without repeats, the rarer are a little more frequent than their probability, 0.21
    assert found.archs.ops.float().mean().item() < 0.35


def test_the_space_takes_over_from_a_generator_that_runs_dry():
    generator = Stuck(SPACE.layout, rng=stream(0, "x"))
    searcher = RandomSearch(SPACE, generator=generator)
    found = searcher.ask(5, rng=stream(0, "searcher"))
    assert sorted(found.origin) == ["generator"] + ["random"] * 4


def test_stats_tell_the_share_of_repeats():
    searcher, rng = RandomSearch(SPACE), stream(0, "searcher")
    assert searcher.stats() == {}
    searcher.ask(26, rng=rng)
    first = searcher.stats()
    assert first["valid"] == 1.0
    assert 0.3 < first["repeated"] < 1
    searcher.ask(1, rng=rng)
    assert searcher.stats()["repeated"] > 0.5
