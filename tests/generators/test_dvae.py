"""D-VAE against the paper's words, taken vertex by vertex and graph by graph."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, one_hot, relu

from netwright.generators.dvae import DVAE
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.testing.generators import GENERATOR_CHECKS, LAYOUTS, complete_graphs
from netwright.testing.latent import LATENT_CHECKS

CELL = Layout.make(7, 5, allowed_ops=[[0], *[[1, 2, 3, 4]] * 5, [4]], end_op=4)


def make(layout, *, hidden=10, latent_size=5, noise_of_parameters=0.5, **options):
    model = DVAE(
        layout, hidden=hidden, latent_size=latent_size, rng=stream(0, "generator"), **options
    )
    rng = stream(0, "parameters")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=noise_of_parameters)
    return model


def gated(gate, state, vertex, size):
    joined = torch.cat([state, one_hot(torch.tensor([vertex]), size).float()], dim=1)
    return torch.sigmoid(gate.gate(joined)) * gate.map(joined)


def simulate(cell, gate, ops, adj, num_ops, order, start):
    """States of the vertices of one graph, in the words of section 3.1 of the paper."""
    states = {}
    for v in order:
        total = torch.zeros(1, cell.hidden_size) if states else start
        for u in states:
            if adj[u, v]:
                total = total + gated(gate, states[u], u, len(adj))
        states[v] = cell(one_hot(ops[v : v + 1], num_ops).float(), total)
    return states


def log_probability(model, latent, ops, adj, count):
    """Draw a given graph step by step, as `decode` would, and add up what is decided."""
    layout, size = model.layout, model.layout.max_nodes
    start = torch.tanh(model.start(latent))
    drawn = torch.zeros(size, size, dtype=torch.bool)
    previous, total, states = start, torch.zeros(()), {}
    for v in range(count):
        chance = model.op_head(previous)[0].masked_fill(~layout.allowed_ops[v], -torch.inf)
        total = total + chance.log_softmax(dim=0)[ops[v]]
        for u in range(v - 1, -1, -1):
            state = simulate(
                model.decoder, model.gate_forward, ops, drawn, layout.num_ops, range(v + 1), start
            )[v]
            if layout.free[u, v]:
                ends = torch.cat([states[u], state], dim=1)
                p = torch.sigmoid(model.edge_out(relu(model.edge_in(ends))))[0, 0]
                total = total - binary_cross_entropy(p, adj[u, v].float())
            drawn[u, v] = adj[u, v]
        states = simulate(
            model.decoder, model.gate_forward, ops, drawn, layout.num_ops, range(v + 1), start
        )
        previous = states[v]
    return total


@pytest.mark.parametrize(
    ("vertices", "types", "published"),
    [(8, 8, 6.94e6), (7, 5, 6.92e6)],
    ids=["enas", "nasbench101"],
)
def test_parameters_are_as_many_as_published(vertices, types, published):
    model = DVAE(Layout.make(vertices, types), rng=stream(0, "generator"))
    count = sum(parameter.numel() for parameter in model.parameters())
    unused = 2 * 501 * 501 + 501  # a layer for two states of a vertex, which nothing uses
    assert round(count + unused, -4) == published


@pytest.mark.parametrize("name", ["free, with an end", "mixed", "chain"])
def test_encoding_simulates_the_graph_both_ways(name):
    layout = LAYOUTS[name]
    model, archs = make(layout), complete_graphs(layout)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:20]]
    size, zeros = layout.max_nodes, torch.zeros(1, model.hidden)
    mean, log_variance = model.encode(archs)
    for i in range(len(archs)):
        ops, adj, last = archs.ops[i], archs.adj[i], int(archs.num_nodes[i]) - 1
        along = simulate(
            model.encoder_forward, model.gate_forward, ops, adj, layout.num_ops, range(size), zeros
        )
        against = simulate(
            model.encoder_backward, model.gate_backward, ops, adj.T, layout.num_ops,
            range(last, -1, -1), zeros,
        )  # fmt: skip
        united = model.unite(torch.cat([along[last], against[0]], dim=1))
        assert torch.allclose(model.mean(united)[0], mean[i], atol=1e-5)
        assert torch.allclose(model.log_variance(united)[0], log_variance[i], atol=1e-5)


@pytest.mark.parametrize("name", LAYOUTS)
def test_likelihood_is_that_of_drawing_step_by_step(name):
    layout = LAYOUTS[name]
    model, archs = make(layout), complete_graphs(layout)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:12]]
    latent = torch.randn(len(archs), model.latent_size, generator=stream(0, "points"))
    expected = [
        log_probability(
            model, latent[i : i + 1], archs.ops[i], archs.adj[i], int(archs.num_nodes[i])
        )
        for i in range(len(archs))
    ]
    got = -model._negative_log_likelihood(latent, archs.pad(layout.max_nodes))
    assert torch.allclose(got, torch.stack(expected).sum(), rtol=1e-5, atol=1e-4)


def probabilities(model, latent, archs):
    with torch.no_grad():
        nll = [model._negative_log_likelihood(latent, archs[i : i + 1]) for i in range(len(archs))]
    return (-torch.stack(nll)).double().exp()


@pytest.mark.parametrize("name", ["cell", "mixed"])
def test_decoding_is_the_distribution_that_the_loss_scores(name):
    layout, n = LAYOUTS[name], 20_000
    model, everything = make(layout), complete_graphs(layout)
    latent = torch.randn(1, model.latent_size, generator=stream(3, "point"))
    expected = probabilities(model, latent, everything)
    assert abs(float(expected.sum()) - 1) < 1e-5
    archs = model.decode(latent.expand(n, -1), rng=stream(0, "decode"))
    joint = ArchitectureBatch.cat([everything, archs])
    rows = torch.cat([joint.ops, joint.adj.flatten(1), joint.num_nodes[:, None]], dim=1)
    _, which = rows.unique(dim=0, return_inverse=True)
    count = (which.bincount() - 1)[which[: len(everything)]]
    frequent = expected * n > 5
    assert frequent.sum() > 10
    z = (count - expected * n) / (expected * n * (1 - expected)).sqrt()
    assert z[frequent].abs().max() < 5


def test_mode_takes_the_likelier_of_two_last_edges():
    model = make(LAYOUTS["cell"])
    latent = torch.randn(20, model.latent_size, generator=stream(0, "points"))
    archs = model.decode(latent, rng=stream(0, "decode"), mode=True)
    other = ArchitectureBatch(archs.ops, archs.adj.clone(), archs.num_nodes)
    other.adj[torch.arange(20), 0, archs.num_nodes - 1] ^= True  # nothing is decided after it
    for i in range(20):
        chosen, not_chosen = (
            log_probability(
                model, latent[i : i + 1], some.ops[i], some.adj[i], int(some.num_nodes[i])
            )
            for some in (archs, other)
        )
        assert chosen > not_chosen


def test_loss_is_likelihood_at_a_noisy_encoding_and_divergence():
    layout = LAYOUTS["cell"]
    archs = complete_graphs(layout)[:6].pad(4)
    model = make(layout, noise=0.3, kl_weight=0.2, noise_of_parameters=0.2)
    mean, log_variance = model.encode(archs)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    drawn = torch.randn(mean.shape, generator=stream(0, "loss"))
    latent = mean + 0.3 * (log_variance / 2).exp() * drawn
    nll = model._negative_log_likelihood(latent, archs)
    expected = (nll + 0.2 * kl.sum()) / 6
    assert torch.allclose(model.loss(archs, rng=stream(0, "loss")), expected, rtol=1e-5)
    assert kl.sum() > 0.1


def test_every_parameter_gets_the_gradient_of_a_difference():
    layout = LAYOUTS["free, with an end"]
    archs = complete_graphs(layout)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:8]]
    model = make(layout, hidden=4, latent_size=3, noise_of_parameters=0.3).double()
    model.loss(archs, rng=stream(0, "loss")).backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=stream(0, name)).double()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-5)
                values.append(model.loss(archs, rng=stream(0, "loss")))
                parameter.sub_(direction, alpha=sign * 1e-5)
        slope = (values[0] - values[1]) / 2e-5
        assert torch.allclose((parameter.grad * direction).sum(), slope, rtol=1e-4, atol=1e-7), name


@pytest.mark.slow
@pytest.mark.parametrize("suite", [GENERATOR_CHECKS, LATENT_CHECKS], ids=["generator", "latent"])
def test_with_ends_wired_the_contract_holds_too(suite):
    def wired(layout, *, rng):
        return DVAE(layout, hidden=10, latent_size=5, wire_ends=True, rng=rng)

    for name, check in suite.items():
        if name != "learns":  # what the rule cannot draw cannot come back
            check(wired)


def test_with_ends_wired_the_last_vertex_takes_what_is_loose_and_nothing_else():
    model = make(CELL, wire_ends=True)
    archs = model.sample(300, rng=stream(0, "sample"))
    into_last = archs.adj[torch.arange(300), :, archs.num_nodes - 1]
    others = (archs.adj.sum(dim=2) - into_last.long()) > 0
    inner = archs.node_mask.clone()
    inner[torch.arange(300), archs.num_nodes - 1] = False
    assert torch.equal(into_last, inner & ~others)
    assert others.any()
    plain = make(CELL).sample(300, rng=stream(0, "sample"))
    into_last = plain.adj[torch.arange(300), :, plain.num_nodes - 1]
    others = (plain.adj.sum(dim=2) - into_last.long()) > 0
    assert (into_last & others).any()
