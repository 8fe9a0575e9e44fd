import pytest
import torch

from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.generators.trace import Stepwise, trace
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.mixture import BernoulliMixture
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201

CHAIN = Layout.make(  # some edges forced, some free, some forbidden; graphs of any size
    4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], edges=[(0, 1), (1, 2), (2, 3)], end_op=3
)
CHAIN.free[0, 2] = CHAIN.free[1, 3] = True
LAYOUTS = {
    "nasbench101": NASBench101().layout,
    "nasbench201": NASBench201().layout,
    "chain": CHAIN,
    "large": Layout.make(32, 3),
}


def make(layout):
    generator = GraphPNAS(layout, hidden=10, rounds=2, mixtures=3, rng=stream(0, "generator"))
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2.0)  # far from uniform
    return generator


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_steps_add_up_to_the_log_probability(name):
    generator = make(LAYOUTS[name]).double()
    archs = generator.sample(5, rng=stream(1, "archs"))
    with torch.no_grad():
        expected = generator.log_prob(archs)
    for i in range(len(archs)):
        found = trace(generator, archs[i : i + 1])
        assert len(found.op) == int(archs.num_nodes[i])
        torch.testing.assert_close(found.log_prob[-1], expected[i], rtol=1e-12, atol=1e-12)
        assert (found.log_op <= 0).all()
        assert (found.log_edges <= 1e-12).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_probabilities_are_normalised_and_respect_the_layout(name):
    layout = LAYOUTS[name]
    generator = make(layout)
    arch = generator.sample(1, rng=stream(2, "archs"))
    found = trace(generator, arch)
    n = len(found.op)
    torch.testing.assert_close(found.op_probability.sum(dim=1), torch.ones(n))
    torch.testing.assert_close(found.weight.sum(dim=1), torch.ones(n))
    assert (found.op_probability[~layout.allowed_ops[:n]] == 0).all()
    earlier = torch.ones(n, layout.max_nodes, dtype=torch.bool).tril(diagonal=-1)
    assert torch.equal(found.free, layout.free.T[:n] & earlier)
    assert (found.edge_probability[layout.forced.T[:n]] == 1).all()
    forbidden = ~(layout.forced | layout.free).T[:n]
    assert (found.edge_probability[forbidden] == 0).all()
    assert (
        (found.edge_probability[found.free] > 0) & (found.edge_probability[found.free] < 1)
    ).all()
    assert torch.equal(found.edges, arch.adj[0].T[:n])
    torch.testing.assert_close(
        found.op_probability[torch.arange(n), found.op].log(), found.log_op, rtol=1e-4, atol=1e-5
    )


def test_step_probabilities_are_those_of_all_continuations():
    """By enumeration: the chance of an operation is that of all graphs in which it comes next."""
    layout = Layout.make(3, 2)
    generator = make(layout).double()
    ops = torch.cartesian_prod(*[torch.arange(2)] * 3)
    bits = torch.cartesian_prod(*[torch.arange(2)] * 3).bool()
    everything = []
    for op in ops:
        for a, b, c in bits.tolist():
            adj = torch.zeros(1, 3, 3, dtype=torch.bool)
            adj[0, 0, 1], adj[0, 0, 2], adj[0, 1, 2] = a, b, c
            everything.append(ArchitectureBatch(op[None], adj, torch.tensor([3])))
    graphs = ArchitectureBatch.cat(everything)
    with torch.no_grad():
        mass = generator.log_prob(graphs).exp()
    torch.testing.assert_close(mass.sum(), torch.tensor(1.0, dtype=torch.double))
    shown = graphs[37:38]
    found = trace(generator, shown)
    for step in range(3):
        same = (graphs.ops[:, :step] == shown.ops[:, :step]).all(dim=1)
        same &= (graphs.adj[:, :, :step] == shown.adj[:, :, :step]).flatten(1).all(dim=1)
        for op in range(2):
            share = mass[same & (graphs.ops[:, step] == op)].sum() / mass[same].sum()
            torch.testing.assert_close(found.op_probability[step, op], share)
        for source in range(step):
            share = mass[same & graphs.adj[:, source, step]].sum() / mass[same].sum()
            torch.testing.assert_close(found.edge_probability[step, source], share)


class Faulty:
    """A generator one part of whose predictions is off."""

    def __init__(self, generator, fault):
        self.generator, self.layout, self.fault = generator, generator.layout, fault

    def predict(self, known):
        logits, edges = self.generator.predict(known)
        if self.fault == "operation":
            return logits * 1.1, edges
        if self.fault == "edges":
            return logits, BernoulliMixture(edges.alpha, edges.theta + 0.1, edges.free)
        if self.fault == "weights":
            return logits, BernoulliMixture(edges.alpha.flip(1), edges.theta, edges.free)
        return self.generator.predict(known[torch.arange(len(known)).flip(0)])


@pytest.mark.parametrize("fault", ["operation", "edges", "weights", "order"])
def test_a_fault_in_a_prediction_does_not_add_up(fault):
    generator = make(NASBench101().layout).double()
    arch = generator.sample(8, rng=stream(3, "archs"))
    arch = arch[arch.num_nodes == arch.num_nodes.max()][:1]
    found = trace(Faulty(generator, fault), arch)
    with torch.no_grad():
        assert (found.log_prob[-1] - generator.log_prob(arch)[0]).abs() > 1e-4


def test_what_cannot_be_traced_is_refused():
    generator = make(CHAIN)
    archs = generator.sample(2, rng=stream(4, "archs"))
    with pytest.raises(ValueError, match="one graph at a time"):
        trace(generator, archs)
    wrong = ArchitectureBatch(archs.ops[:1], archs.adj[:1] & False, archs.num_nodes[:1])
    with pytest.raises(ValueError, match="one that the generator can draw"):
        trace(generator, wrong)
    assert isinstance(generator, Stepwise)
    assert not isinstance(RandomGraph(CHAIN), Stepwise)
