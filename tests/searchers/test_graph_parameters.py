"""Bayesian optimisation of the parameters of random graphs."""

import pytest
import torch

from netwright.config.methods.nago import NagoConfig
from netwright.config.searchers import make_searcher
from netwright.rng import stream
from netwright.searchers.graph_parameters import ParameterOptions, ParameterSearch
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.randwire import RandWire

pytest.importorskip("botorch")
SPACE = RandWire(16, 2)


def searcher(**options):
    few = {"initial": 6, "candidates": 100}
    return ParameterSearch(SPACE, options=ParameterOptions(**few | options))


def dense_then_sparse(archs, space=SPACE):
    """Best with many edges in the first cell and few in the second."""
    edges = space.split(archs).flatten(2).sum(dim=2).double()
    return (edges[:, 0] - edges[:, 1]) / 64


def run(found, rounds, *, score=dense_then_sparse, seed=0, n=5):
    rng = stream(seed, "search")
    scores = []
    for _ in range(rounds):
        proposals = found.ask(n, rng=rng)
        values = score(proposals.archs).float()
        scores += values.tolist()
        found.tell(proposals.archs, values, rng=rng)
    return scores, proposals


def test_proposals_are_valid_and_new():
    found = searcher()
    rng, seen = stream(0, "search"), []
    for number in range(4):
        proposals = found.ask(5, rng=rng)
        assert len(proposals) == 5
        assert SPACE.is_valid(proposals.archs).all()
        assert set(proposals.origin) == {"random" if number < 2 else "generator"}
        seen += SPACE.to_text(proposals.archs)
        found.tell(proposals.archs, torch.rand(5, generator=rng), rng=rng)
    assert len(set(seen)) == 20


def test_graphs_are_as_the_parameters_say():
    """Cell 1 a ring with two neighbours that is never rewired, cell 2 one with six."""
    found = searcher(p=(0.0, 1.0))
    x = torch.tensor([[0.0, 0.0, 0.0, 0.99]], dtype=torch.float64)
    cells = SPACE.split(found.draw(x.expand(20, -1), rng=stream(0, "draw")))
    assert set(cells[:, 0].flatten(1).sum(dim=1).tolist()) == {16}
    assert set(cells[:, 1].flatten(1).sum(dim=1).tolist()) == {48}
    assert len(cells[:, 0].flatten(1).unique(dim=0)) == 1
    rewired = torch.tensor([[1.0, 0.0, 0.0, 0.5]], dtype=torch.float64)
    cells = SPACE.split(found.draw(rewired.expand(20, -1), rng=stream(0, "draw")))
    assert len(cells[:, 0].flatten(1).unique(dim=0)) == 20
    assert set(cells[:, 1].flatten(1).sum(dim=1).tolist()) == {32}


def test_it_finds_the_best_parameters():
    found = searcher(initial=10)
    scores, _ = run(found, 12)
    assert sum(scores[-20:]) / 20 > 0.45  # the best is 0.5, drawn uniformly 0 on average
    best = found.best(rng=stream(0, "best"))
    assert best[2] >= 2 / 3  # six neighbours
    assert best[3] < 1 / 3  # two
    assert found.stats()["best k of cell 1"] == 6
    assert found.stats()["best k of cell 2"] == 2


def test_resumed_bit_for_bit():
    halves = searcher()
    run(halves, 2)
    rng = stream(1, "search")
    asked = halves.ask(3, rng=rng)  # and not told yet
    other = searcher()
    other.load_state_dict(halves.state_dict())
    results = []
    for one in (halves, other):
        rng = stream(2, "search")
        one.tell(asked.archs, torch.tensor([0.1, torch.nan, 0.3]), rng=rng)
        results.append([SPACE.to_text(one.ask(4, rng=rng).archs) for _ in range(2)])
    assert results[0] == results[1]
    assert halves.stats() == other.stats()


def test_failures_and_strangers_are_taken():
    found, rng = searcher(), stream(0, "search")
    proposals = found.ask(8, rng=rng)
    found.tell(proposals.archs, torch.full((8,), torch.nan), rng=rng)
    assert found.stats() == {}
    strangers = SPACE.sample(8, rng=rng)
    found.tell(strangers, torch.rand(8, generator=rng), rng=rng)
    assert set(found.ask(3, rng=rng).origin) == {"random"}  # nothing is known of parameters yet


def test_er_and_single_cells():
    space = RandWire(8)
    found = ParameterSearch(space, model="er", options=ParameterOptions(initial=4, candidates=50))
    scores, _ = run(found, 8, score=lambda archs: archs.num_edges / 28)
    assert sum(scores[-10:]) > sum(scores[:10])
    assert set(found.stats()) == {"best p of cell 1"}


def test_made_from_settings():
    config = NagoConfig(graphs="er", p=(0.1, 0.5), initial=3)
    found = make_searcher(config, SPACE, rng=stream(0, "init"))
    assert (found.model, found.options.p, found.options.initial) == ("er", (0.1, 0.5), 3)


def test_errors():
    with pytest.raises(ValueError, match="end early have no blocks"):
        ParameterSearch(NASBench101())
    with pytest.raises(ValueError, match="nasbench201 has no free edges"):
        ParameterSearch(NASBench201())
    for options in ({"initial": 1}, {"p": (0.5, 0.2)}, {"k": (1, 4)}):
        with pytest.raises(ValueError, match="must be"):
            searcher(**options)
    assert ParameterSearch(ENAS(4)).ask(2, rng=stream(0, "a")).origin == ("random", "random")
