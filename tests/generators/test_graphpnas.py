from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from netwright.generators.graphpnas import GraphPNAS
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.testing.generators import complete_graphs

CELL = Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3)


def make(layout=CELL, seed=0):
    generator = GraphPNAS(layout, hidden=10, rounds=2, mixtures=3, rng=stream(seed, "generator"))
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2.0)  # far from uniform
    return generator


def by_the_equations(generator, ops, edges):
    """log P of one graph, step by step ([GraphPNAS] eq. 1 to 6)."""
    layout, total = generator.layout, 0.0

    def mlp(part, x):
        return part.second(torch.relu(part.first(x)))

    for n, op in enumerate(ops):
        before = [(i, j) for i, j in edges if j < n]
        links = before + [(i, n) for i in range(n)]
        one_hot = torch.eye(layout.num_ops + 1)[[*ops[:n], layout.num_ops]]
        features = torch.zeros(n + 1, 2 * layout.max_nodes)
        for i, j in before:
            features[j, i] = 1.0
        for i in range(n + 1):
            features[i, layout.max_nodes + i] = 1.0
        source, target = torch.tensor(links, dtype=torch.long).view(-1, 2).T
        h = generator.propagate(generator.initial(one_hot), features, source, target)

        head = generator.edge_head
        alpha = sum((mlp(head.alpha, h[n] - h[j]) for j in range(n)), torch.zeros(3)).softmax(0)
        product = torch.ones(3)
        for j in range(n):
            theta = mlp(head.theta, h[n] - h[j]).sigmoid()
            if layout.free[j, n]:
                product = product * (theta if (j, n) in edges else 1 - theta)
        beta = generator.op_head(h[n]).exp() * layout.allowed_ops[n]
        total = total + (alpha * product).sum().log() + (beta[op] / beta.sum()).log()
    return total


@pytest.mark.parametrize(
    ("ops", "edges"),
    [
        ([0, 3], {(0, 1)}),
        ([0, 1, 3], set()),
        ([0, 2, 1, 3], {(0, 1), (1, 2), (0, 3), (2, 3)}),
        ([0, 1, 1, 3], {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}),
    ],
)
def test_log_prob_is_equations_1_to_6(ops, edges):
    generator = make()
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    arch = ArchitectureBatch(
        torch.tensor([ops + [0] * (4 - len(ops))]), adj, torch.tensor([len(ops)])
    )
    expected = by_the_equations(generator, ops, edges)
    assert torch.allclose(generator.log_prob(arch)[0], expected, atol=1e-4)


def test_the_paper_sizes_are_the_default():
    generator = GraphPNAS(CELL, rng=stream(0, "generator"))
    assert generator.initial.out_features == 128
    assert generator.propagate.rounds == 7
    assert generator.edge_head.theta.second.out_features == 10


def test_learns_the_graphs_it_is_shown():
    generator = make()
    shown = complete_graphs(CELL)[torch.tensor([5, 200])]
    adam = torch.optim.Adam(generator.parameters(), lr=2e-2)
    for _ in range(80):
        adam.zero_grad()
        (-generator.log_prob(shown).mean()).backward()
        adam.step()
    # The best that a distribution can do with two graphs is one half each.
    assert (generator.log_prob(shown).exp() - 0.5).abs().max() < 0.1
    drawn = generator.sample(200, rng=stream(0, "drawn"))
    for graph in (shown[:1], shown[1:]):
        hits = drawn.equal(graph[torch.zeros(200, dtype=torch.long)]).sum()
        assert hits > 60


def test_several_seeds_run_as_one_stacked_model():
    generators = [make(seed=seed) for seed in range(3)]
    archs = generators[0].sample(15, rng=stream(0, "archs"))
    stacked, _ = stack_module_state(generators)
    first = generators[0]

    def mean(parameters):
        return functional_call(first, parameters, (archs,)).mean()

    values = vmap(partial(functional_call, first), in_dims=(0, None))(stacked, (archs,))
    gradients = vmap(grad(mean))(stacked)
    for i, generator in enumerate(generators):
        expected = generator.log_prob(archs)
        assert torch.allclose(values[i], expected, atol=1e-4)
        expected.mean().backward()
        for name, parameter in generator.named_parameters():
            assert torch.allclose(gradients[name][i], parameter.grad, atol=1e-4)


def test_steps_without_a_choice_are_free():
    """A layout that leaves one graph: probability 1, whatever the parameters."""
    layout = Layout.make(3, 2, allowed_ops=[[0], [1], [0]], edges=[(0, 1), (1, 2)])
    generator = make(layout)
    only = generator.sample(4, rng=stream(0, "sample"))
    assert only.ops.tolist() == [[0, 1, 0]] * 4
    assert only.adj[0].nonzero().tolist() == [[0, 1], [1, 2]]
    assert generator.log_prob(only).tolist() == [0.0] * 4


def test_a_batch_outside_the_layout_has_no_gradient_but_a_value():
    generator = make()
    nothing = ArchitectureBatch(
        torch.zeros(2, 4, dtype=torch.long),
        torch.zeros(2, 4, 4, dtype=torch.bool),
        torch.tensor([4, 4]),
    )
    log_prob = generator.log_prob(nothing)
    assert log_prob.tolist() == [-torch.inf] * 2
    log_prob.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in generator.parameters())


def test_double_precision():
    generator = make().double()
    archs = generator.sample(5, rng=stream(0, "archs"))
    assert generator.log_prob(archs).dtype == torch.float64
    expected = generator.float().log_prob(archs)
    assert torch.allclose(generator.double().log_prob(archs).float(), expected, atol=1e-4)
