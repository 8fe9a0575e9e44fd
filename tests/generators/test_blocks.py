"""Independent generators for the cells of an architecture: log-probabilities add."""

from functools import partial
from itertools import product

import pytest
import torch

from netwright.config.methods.graphpnas import GraphPNASConfig
from netwright.config.searchers import make_searcher
from netwright.generators.blocks import Blocks
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.generators.rnn import Recurrent
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers.policy_gradient import FitOptions, Learner, Lesson, fit
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.randwire import RandWire

MAKERS = {
    "graphpnas": partial(GraphPNAS, hidden=8, rounds=2, mixtures=2),
    "rnn": partial(Recurrent, hidden=8),
}


def two_blocks():
    """Nodes 0 to 2 with operations 0 and 2, and nodes 3 and 4 with operations 1 and 2."""
    free = torch.zeros(5, 5, dtype=torch.bool)
    free[0, 1] = free[0, 2] = free[3, 4] = True
    forced = torch.zeros(5, 5, dtype=torch.bool)
    forced[1, 2] = True
    allowed = torch.tensor([[1, 0, 1]] * 3 + [[0, 1, 1]] * 2).bool()
    return Layout(5, 3, allowed, free, forced)


def everything(layout):
    pairs = layout.free.nonzero().tolist()
    choices = [row.nonzero()[:, 0].tolist() for row in layout.allowed_ops]
    ops, adj = [], []
    for chosen in product(*choices):
        for bits in product([False, True], repeat=len(pairs)):
            edges = layout.forced.clone()
            for (i, j), bit in zip(pairs, bits, strict=True):
                edges[i, j] = bit
            ops.append(chosen)
            adj.append(edges)
    n = len(ops)
    return ArchitectureBatch(torch.tensor(ops), torch.stack(adj), torch.full((n,), 5))


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


def test_the_blocks_of_layouts():
    assert two_blocks().blocks() == [slice(0, 3), slice(3, 5)]
    assert RandWire(4, 3).layout.blocks() == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert RandWire(4).layout.blocks() == [slice(0, 4)]
    assert ENAS(3).layout.blocks() == [slice(0, 5)]
    assert NASBench101().layout.blocks() == [slice(0, 7)]


def test_probabilities_sum_to_one(make):
    layout = two_blocks()
    blocks = Blocks(layout, make, rng=stream(0, "weights"))
    archs = everything(layout)
    assert len(archs) == 2**5 * 2**3
    log_prob = blocks.log_prob(archs)
    assert float(log_prob.exp().sum().detach()) == pytest.approx(1, abs=1e-5)
    parts = blocks.log_prob_parts(archs)
    assert torch.allclose(parts.sum(dim=1), log_prob, atol=1e-5)


def test_each_block_has_its_own_generator(make):
    """The probability of a whole is the product of the parts', each by its own parameters."""
    layout = RandWire(3, 2).layout
    blocks = Blocks(layout, make, rng=stream(0, "weights"))
    rng = stream(0, "weights")
    alone = [make(RandWire(3).layout, rng=rng) for _ in range(2)]
    with torch.no_grad():
        for parameter in (*blocks.parameters(), *(p for one in alone for p in one.parameters())):
            parameter *= 10  # at first they are all but uniform
    archs = RandWire(3, 2).sample(20, rng=stream(0, "archs"))
    cells = RandWire(3, 2).split(archs)
    expected = sum(
        one.log_prob(RandWire(3).joined(cells[:, i : i + 1])) for i, one in enumerate(alone)
    )
    assert torch.allclose(blocks.log_prob(archs), expected, atol=1e-6)
    swapped = RandWire(3, 2).joined(cells.flip(1))
    assert not torch.allclose(blocks.log_prob(swapped), expected, atol=1e-3)


@pytest.mark.slow
def test_samples_are_as_frequent_as_their_probability_says(make):
    layout, n = two_blocks(), 20_000
    blocks = Blocks(layout, make, rng=stream(0, "weights"))
    archs = everything(layout)
    drawn = blocks.sample(n, rng=stream(0, "draws"))
    assert all(rule.all() for rule in layout.rules(drawn).values())

    def code(batch):
        bits = torch.cat([batch.ops * 9, batch.adj.flatten(1).long()], dim=1)
        return bits.double() @ torch.rand(30, generator=stream(0, "code"), dtype=torch.float64)

    known = code(archs)
    row = (code(drawn)[:, None] - known).abs().argmin(dim=1)
    expected = blocks.log_prob(archs).exp().detach().double() * n
    counts = row.bincount(minlength=len(archs)).double()
    large = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[large].sum()
    assert chi2 < int(large.sum()) + 5 * (2 * int(large.sum())) ** 0.5


def test_what_the_layout_rules_out_has_no_probability(make):
    blocks = Blocks(two_blocks(), make, rng=stream(0, "weights"))
    good = blocks.sample(4, rng=stream(0, "draws"))
    adj = good.adj.clone()
    adj[0, 2, 3] = True  # from one block into the other
    adj[1, 1, 2] = False  # forced
    ops = good.ops.clone()
    ops[2, 0] = 1  # not allowed there
    log_prob = blocks.log_prob(ArchitectureBatch(ops, adj, good.num_nodes))
    assert (log_prob[:3] == -torch.inf).all()
    assert log_prob[3].isfinite()


def test_temperature_reaches_every_block():
    layout = RandWire(6, 2).layout
    blocks = Blocks(layout, MAKERS["graphpnas"], rng=stream(0, "weights"))
    cold = blocks.sample(200, rng=stream(0, "draws"), temperature=0.01)
    for block in layout.blocks():
        assert len(cold.adj[:, block, block].flatten(1).unique(dim=0)) < 30
    warm = blocks.sample(200, rng=stream(0, "draws"))
    for block in layout.blocks():
        assert len(warm.adj[:, block, block].flatten(1).unique(dim=0)) > 100


@pytest.mark.slow
def test_fitted_side_by_side_as_one_by_one(make):
    space = RandWire(4, 2)
    archs = space.sample(6, rng=stream(0, "archs"))
    score = torch.rand(6, generator=stream(0, "score"), dtype=torch.float64)

    def lessons():
        return [
            Lesson(
                Learner(Blocks(space.layout, make, rng=stream(i, "weights"))),
                archs,
                score,
                stream(i, "fit"),
            )
            for i in range(2)
        ]

    together, alone = lessons(), lessons()
    options = FitOptions(epochs=3, batch_size=3)
    fit(together, options)
    for lesson in alone:
        fit([lesson], options)
    for one, other in zip(together, alone, strict=True):
        pairs = zip(one.learner.policy.parameters(), other.learner.policy.parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.slow
def test_every_block_learns_what_is_good(make):
    """Good: the edge 0-1 in the first cell, none in the second."""
    space = RandWire(2, 2)
    archs = space.joined(
        torch.tensor([[[[0, a], [0, 0]], [[0, b], [0, 0]]] for a in (0, 1) for b in (0, 1)]).bool()
    )
    score = torch.tensor([0.0, -1.0, 1.0, 0.0])
    learner = Learner(Blocks(space.layout, make, rng=stream(0, "weights")))
    fit(
        [Lesson(learner, archs, score, stream(0, "fit"))], FitOptions(epochs=60, learning_rate=0.02)
    )
    assert learner.policy.log_prob(archs).exp()[2] > 0.9


@pytest.mark.parametrize("model", ["er", "ws", "ba"])
def test_random_graphs_of_several_cells_are_as_of_one_each(model):
    """Every cell of a ring with four neighbours has 12 x 4 / 2 edges, however it was rewired."""
    options = {"model": model, "p": 0.3, "k": 4, "m": 3}
    space = RandWire(12, 3)
    cells = space.split(RandomGraph(space.layout, **options).sample(300, rng=stream(0, "draws")))
    one = RandomGraph(RandWire(12).layout, **options).sample(900, rng=stream(0, "others")).adj
    edges, expected = cells.flatten(2).sum(dim=2), one.flatten(1).sum(dim=1)
    if model == "er":
        assert abs(edges.double().mean() - expected.double().mean()) < 1
    else:
        assert set(edges.flatten().tolist()) == set(expected.tolist())
    assert len(cells.flatten(0, 1).flatten(1).unique(dim=0)) > 800


class TestConfig:
    @pytest.mark.slow
    def test_a_generator_for_each_cell(self):
        space = RandWire(4, 3)
        config = GraphPNASConfig(hidden=8, rounds=2, mixtures=2, per_cell=True)
        searcher = make_searcher(config, space, rng=stream(0, "init"))
        assert isinstance(searcher.policy, Blocks)
        assert len(searcher.policy.parts) == 3
        rng = stream(0, "search")
        proposals = searcher.ask(20, rng=rng)
        searcher.tell(proposals.archs, torch.rand(20, generator=rng), rng=rng)
        assert len(searcher.ask(20, rng=rng)) == 20

    def test_a_space_of_one_cell_is_refused(self):
        with pytest.raises(ValueError, match="architectures of enas are of one part here"):
            make_searcher(GraphPNASConfig(per_cell=True), ENAS(3), rng=stream(0, "init"))

    def test_errors(self):
        with pytest.raises(ValueError, match="end early have no blocks"):
            Blocks(NASBench101().layout, MAKERS["rnn"], rng=stream(0, "w"))
        with pytest.raises(TypeError, match="RandomGraph has no log_prob"):
            Blocks(RandWire(3, 2).layout, _random, rng=stream(0, "w"))


def _random(layout, *, rng):
    del rng
    return RandomGraph(layout)
