"""Random DAGs: counts that are exact, frequencies that are known."""

import pytest
import torch

from netwright.graphs.random import barabasi_albert, erdos_renyi, watts_strogatz
from netwright.rng import stream

DRAWS = {
    "erdos_renyi": lambda n, rng: erdos_renyi(n, 9, 0.4, rng=rng),
    "watts_strogatz": lambda n, rng: watts_strogatz(n, 9, 4, 0.5, rng=rng),
    "barabasi_albert": lambda n, rng: barabasi_albert(n, 9, 3, rng=rng),
}


@pytest.fixture(params=DRAWS.values(), ids=DRAWS.keys())
def draw(request):
    return request.param


def _edges(adj):
    return adj.sum(dim=(1, 2))


def test_rng_decides_everything_and_the_global_state_is_untouched(draw):
    before = torch.get_rng_state()
    a, b, c = (draw(20, stream(seed, "graphs")) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.get_rng_state())


def test_edges_run_forward_and_graphs_differ(draw):
    adj = draw(50, stream(0, "graphs"))
    assert adj.shape == (50, 9, 9)
    assert not adj.tril().any()
    assert len(adj.flatten(1).unique(dim=0)) > 40


def test_no_graphs(draw):
    assert len(draw(0, stream(0, "graphs"))) == 0


def test_erdos_renyi_frequency_of_every_pair():
    n, p = 40_000, 0.3
    frequency = erdos_renyi(n, 5, p, rng=stream(0, "graphs")).float().mean(dim=0)
    upper = torch.ones(5, 5).triu(diagonal=1).bool()
    assert ((frequency[upper] - p).abs() < 5 * (p * (1 - p) / n) ** 0.5).all()


def test_erdos_renyi_pairs_are_independent():
    flat = erdos_renyi(40_000, 4, 0.5, rng=stream(0, "graphs")).float().flatten(1)
    varying = flat[:, flat.std(dim=0) > 0]
    off_diagonal = torch.corrcoef(varying.T) - torch.eye(varying.shape[1])
    assert varying.shape[1] == 6
    assert (off_diagonal.abs() < 5 / 40_000**0.5).all()


def test_erdos_renyi_sizes_and_probabilities_per_graph():
    sizes = torch.tensor([1, 3, 6, 6])
    p = torch.tensor([1.0, 1.0, 1.0, 0.0])
    adj = erdos_renyi(4, sizes, p, rng=stream(0, "graphs"))
    assert _edges(adj).tolist() == [0, 3, 15, 0]
    assert adj.shape == (4, 6, 6)
    assert not adj[1, :, 3:].any()


@pytest.mark.parametrize("k", [0, 2, 4, 6])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_watts_strogatz_has_exactly_half_of_n_times_k_edges(k, p):
    assert (_edges(watts_strogatz(200, 8, k, p, rng=stream(0, "graphs"))) == 8 * k // 2).all()


def test_watts_strogatz_without_rewiring_is_a_ring_lattice():
    adj = watts_strogatz(3, 7, 4, 0.0, rng=stream(0, "graphs"))
    gap = (torch.arange(7)[:, None] - torch.arange(7)).abs()
    ring = torch.minimum(gap, 7 - gap)
    assert torch.equal(adj, ((ring >= 1) & (ring <= 2)).triu(diagonal=1).expand(3, 7, 7))


def test_watts_strogatz_rewires_a_share_p_of_edges_uniformly():
    n, nodes, p = 20_000, 12, 0.25
    adj = watts_strogatz(n, nodes, 2, p, rng=stream(0, "graphs"))
    gap = (torch.arange(nodes)[:, None] - torch.arange(nodes)).abs()
    lattice = (torch.minimum(gap, nodes - gap) == 1).triu(diagonal=1)
    kept = (adj & lattice).sum(dim=(1, 2)).float().mean() / nodes
    # an edge stays with probability 1 - p; a few rewired ones land on a vacated lattice pair
    assert 1 - p - 0.005 < kept < 1 - p + 0.03
    far = (adj & ~lattice).float().mean(dim=0)[(~lattice).triu(diagonal=1)]
    # uniform but for the vacated lattice pairs and earlier rewirings that are excluded
    assert far.min() > 0.85 * far.mean()
    assert far.max() < 1.15 * far.mean()


def test_watts_strogatz_parameters_per_graph():
    k, p = torch.tensor([2, 4, 6]), torch.tensor([0.0, 0.5, 1.0])
    adj = watts_strogatz(3, 10, k, p, rng=stream(0, "graphs"))
    assert _edges(adj).tolist() == [10, 20, 30]
    assert torch.equal(adj[:1], watts_strogatz(1, 10, 2, 0.0, rng=stream(9, "graphs")))


@pytest.mark.parametrize(("nodes", "m"), [(2, 1), (9, 1), (9, 3), (9, 8), (32, 5)])
def test_barabasi_albert_joins_each_new_node_to_m_older_ones(nodes, m):
    adj = barabasi_albert(200, nodes, m, rng=stream(0, "graphs"))
    assert (_edges(adj) == m * (nodes - m)).all()
    assert (adj[:, :, m:].sum(dim=1) == m).all()
    assert not adj[:, :, :m].any()


def test_barabasi_albert_prefers_nodes_of_high_degree():
    """Node 2 is joined to 0 or 1, of degree 1 each; node 3 then sees degrees 2, 1, 1."""
    n = 40_000
    adj = barabasi_albert(n, 4, 1, rng=stream(0, "graphs"))
    assert adj[:, 0, 1].all()
    first, hub = adj[:, 0, 2], torch.where(adj[:, 0, 2], 0, 1)
    assert (first.float().mean() - 0.5).abs() < 0.015
    to_hub = adj[torch.arange(n), hub, 3].float().mean()
    assert (to_hub - 0.5).abs() < 0.015
    assert (adj[:, 2, 3].float().mean() - 0.25).abs() < 0.015


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: erdos_renyi(2, 5, 1.5, rng=rng), "p must lie"),
        (lambda rng: watts_strogatz(2, 5, 2, -0.1, rng=rng), "p must lie"),
        (lambda rng: watts_strogatz(2, 5, 3, 0.5, rng=rng), "k must be even"),
        (lambda rng: watts_strogatz(2, 5, 6, 0.5, rng=rng), "below the 5 nodes"),
        (lambda rng: barabasi_albert(2, 5, 5, rng=rng), "m must be"),
        (lambda rng: barabasi_albert(2, 5, 0, rng=rng), "m must be"),
    ],
)
def test_bad_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call(stream(0, "graphs"))
