import pytest
import torch
from torch.func import functional_call

from netwright.generators import graphpnas
from netwright.generators.graphpnas import GraphPNAS
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.testing.generators import complete_graphs

PREDICT = GraphPNAS.predict
CELL = Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3)


VARIANTS = {
    "paper": {},
    "vector gate": {"gate": "vector"},
    "no feedback": {"feedback": False},
    "released": {"variant": "released"},
    "released with feedback": {"variant": "released", "feedback": True},
}


def make(layout=CELL, seed=0, **options):
    rng = stream(seed, "generator")
    generator = GraphPNAS(layout, hidden=10, rounds=2, mixtures=3, rng=rng, **options)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2.0)  # far from uniform
    return generator


def by_the_equations(generator, ops, edges):
    """Log P of edges and of operations of one graph, step by step ([GraphPNAS] eq. 1 to 6)."""
    layout, total = generator.layout, torch.zeros(2)
    size, paper = layout.max_nodes, generator.variant == "paper"
    for n, op in enumerate(ops):
        before = [(i, j) for i, j in edges if j < n]
        links = before + [(i, n) for i in range(n)]
        place = torch.eye(size)[: n + 1]
        features = torch.cat([torch.zeros(n + 1, size), place], dim=1)
        for i, j in before:
            features[j, i] = 1.0
        known = [*(ops[:n] if generator.feedback else [0] * n), layout.num_ops]
        state = torch.zeros(n + 1, 10)
        if paper or generator.feedback:
            state = state + torch.eye(layout.num_ops + 1)[known] @ generator.initial[0]
        if not paper:
            state = state + features @ generator.place[0]
            state[n] = 0.0
        source, target = torch.tensor(links, dtype=torch.long).view(-1, 2).T
        along, against = torch.zeros(len(links)).long(), torch.ones(len(links)).long()
        if not paper:  # edges among known nodes, to the new node, from the new node
            along = (target == n).long()
            against = 2 * along
        u = features if paper else place
        h = generator.propagate(state, u, source, target, along, against)

        alpha, theta = generator.edge_head(
            h, torch.tensor([n]), torch.arange(n)[None], torch.ones(1, n).bool()
        )
        product = torch.ones(3)
        for j in range(n):
            if layout.free[j, n]:
                p = theta[0, j].sigmoid()
                product = product * (p if (j, n) in edges else 1 - p)
        logits = h[n : n + 1]
        for i, layer in enumerate(generator.op_head):
            logits = (logits.relu() if i else logits) @ layer.weight[0] + layer.bias[0]
        beta = logits[0].exp() * layout.allowed_ops[n]
        edge_share, op_share = (alpha[0].softmax(0) * product).sum(), beta[op] / beta.sum()
        total = total + torch.stack([edge_share, op_share]).log()
    return total


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(
    ("ops", "edges"),
    [
        ([0, 3], {(0, 1)}),
        ([0, 1, 3], set()),
        ([0, 2, 1, 3], {(0, 1), (1, 2), (0, 3), (2, 3)}),
        ([0, 1, 1, 3], {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}),
    ],
)
def test_log_prob_is_equations_1_to_6(ops, edges, options):
    generator = make(**options)
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    arch = ArchitectureBatch(
        torch.tensor([ops + [0] * (4 - len(ops))]), adj, torch.tensor([len(ops)])
    )
    expected = by_the_equations(generator, ops, edges)
    assert torch.allclose(generator.log_prob_parts(arch)[0], expected, atol=1e-4)
    assert torch.allclose(generator.log_prob(arch)[0], expected.sum(), atol=1e-4)


def test_the_paper_sizes_are_the_default():
    generator = GraphPNAS(CELL, rng=stream(0, "generator"))
    assert generator.initial.shape == (1, 5, 128)
    assert generator.propagate.rounds == 7
    assert generator.propagate.of_state.shape == (1, 1, 128, 5 * 128), "rounds share weights"
    assert generator.propagate.attention_out.shape == (1, 1, 128, 1), "one number per message"
    assert len(generator.op_head) == 2
    assert generator.edge_head.theta.weight.shape == (1, 128, 10)


def test_the_released_model_is_another():
    generator = GraphPNAS(CELL, hidden=24, variant="released", rng=stream(0, "generator"))
    assert generator.propagate.of_state.shape[1] == 7, "every round has weights of its own"
    assert generator.propagate.attention_out.shape == (1, 7, 24, 24), "a vector gate"
    assert len(generator.op_head) == 3
    assert not generator.feedback
    assert not hasattr(generator, "initial")


def test_feedback_is_what_tells_operations():
    """The same edges after other operations: without feedback nothing can depend on them."""
    archs = complete_graphs(CELL)
    archs = archs[archs.num_nodes == 4]
    for feedback in (True, False):
        generator = make(feedback=feedback)
        known = ArchitectureBatch.masked(archs.ops, archs.adj, torch.full_like(archs.num_nodes, 3))
        logits, _ = generator.predict(known)
        alike = (known.adj == known.adj[:1]).all(dim=(1, 2))
        spread = logits[alike][:, 3].std()
        assert (spread > 1e-3) == feedback


def test_where_only_operations_are_decided_the_released_model_sees_them():
    layout = Layout.make(3, 3, edges=[(0, 1), (1, 2)])
    assert GraphPNAS(layout, variant="released", hidden=4, rng=stream(0, "g")).feedback


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


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_several_seeds_run_as_one_stacked_model(options):
    generators = [make(seed=seed, **options) for seed in range(3)]
    every = complete_graphs(CELL)
    # Shares of very different sizes, and graphs outside the layout among them.
    shares = [every[every.num_nodes == 2][:2], every[-2:], every[torch.tensor([0, len(every) - 1])]]
    shares[1].ops[0, 0] = 3
    archs = ArchitectureBatch.cat(shares)
    stacked = {
        name: torch.cat([g.state_dict()[name] for g in generators]).requires_grad_()
        for name, _ in generators[0].named_parameters()
    }
    values = functional_call(generators[0], stacked, (archs,)).sum(dim=1)
    values[values.isfinite()].sum().backward()
    for i, (generator, share) in enumerate(zip(generators, shares, strict=True)):
        expected = generator.log_prob(share)
        assert torch.allclose(values[2 * i : 2 * i + 2], expected, atol=1e-5)
        expected[expected.isfinite()].sum().backward()
        for name, parameter in generator.named_parameters():
            assert torch.allclose(stacked[name].grad[i], parameter.grad[0], atol=1e-5)


def test_graphs_that_replicas_cannot_share_are_refused():
    generators = [make(seed=seed) for seed in range(2)]
    stacked = {
        name: torch.cat([g.state_dict()[name] for g in generators])
        for name, _ in generators[0].named_parameters()
    }
    with pytest.raises(ValueError, match="3 graphs for 2 replicas"):
        functional_call(generators[0], stacked, (complete_graphs(CELL)[:3],))


@pytest.mark.parametrize("many", [2, 40])
def test_equal_prefixes_are_read_once_without_a_difference(many, monkeypatch):
    generator, every = make(), complete_graphs(CELL)
    archs = every[torch.randint(len(every), (many,), generator=stream(0, "many"))]
    known = ArchitectureBatch.masked(archs.ops, archs.adj, torch.full_like(archs.num_nodes, 2))
    expected = generator.predict(known)
    for rows in (graphpnas._ROWS, 7):  # all at once, and in parts
        monkeypatch.setattr(graphpnas, "_ROWS", rows)
        read = []

        def spy(self, known, read=read):
            read.append(len(known))
            return PREDICT(self, known)

        monkeypatch.setattr(GraphPNAS, "predict", spy)
        logits, edges = generator._predict_each_once(known)
        torch.testing.assert_close(logits, expected[0])
        for name in ("alpha", "theta", "free"):
            torch.testing.assert_close(getattr(edges, name), getattr(expected[1], name))
        assert many < 16 or rows == 7 or sum(read) < many


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


@pytest.mark.gpu
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_same_on_cuda(options):
    generator, archs = make(**options), complete_graphs(CELL)[:50]
    expected = generator.log_prob(archs)
    expected.sum().backward()
    gradients = [p.grad.clone() for p in generator.parameters()]
    generator.zero_grad()
    on_cuda = generator.to("cuda")
    got = on_cuda.log_prob(archs.to("cuda"))
    got.sum().backward()
    torch.testing.assert_close(got.cpu(), expected, atol=1e-4, rtol=1e-4)
    for p, gradient in zip(on_cuda.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad.cpu(), gradient, atol=1e-3, rtol=1e-3)
    assert on_cuda.sample(30, rng=stream(0, "sample")).device.type == "cuda"
