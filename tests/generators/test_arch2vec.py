"""arch2vec against the formulas of its paper and of its released code."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, one_hot, pad

from netwright.generators.arch2vec import Arch2Vec
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.testing.generators import LAYOUTS, complete_graphs

CELL = Layout.make(7, 5, allowed_ops=[[0], *[[1, 2, 3, 4]] * 5, [4]], end_op=4)


def make(layout, *, hidden=12, node_latent=4, **options):
    model = Arch2Vec(
        layout, hidden=hidden, node_latent=node_latent, rng=stream(0, "generator"), **options
    )
    rng = stream(0, "parameters")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=0.3)
    return model


def some(layout, n):
    archs = complete_graphs(layout)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:n]]
    return archs.pad(layout.max_nodes)


def posterior(model, archs, normalise):
    """The encoder, written like the paper: a matrix per graph, one layer after the other."""
    ops = one_hot(archs.ops, model.layout.num_ops).float() * archs.node_mask[:, :, None]
    adj = (archs.adj | archs.adj.mT).float()
    state = ops
    for layer in model.layers:
        rows = (1 + layer.own) * state + torch.einsum("bij,bjd->bid", adj, state)
        for linear, norm in zip((layer.first, layer.second), layer.norms, strict=True):
            rows = normalise(norm, linear(rows)).clamp(min=0)
        state = rows
    mean, log_deviation = model.posterior(state).chunk(2, dim=2)
    return mean, log_deviation.exp(), ops


def of_batch(norm, rows):
    mean, variance = rows.mean(dim=(0, 1)), rows.var(dim=(0, 1), correction=0)
    return (rows - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def running(norm, rows):
    return (rows - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias


def test_sizes_are_those_of_the_released_code():
    model = Arch2Vec(CELL, rng=stream(0, "generator"))
    assert model.latent_size == 7 * 16
    first = 5 * 128 + 128 * 128 + 4 * 128 + 1  # weights, two normalisations, epsilon
    other = 2 * 128 * 128 + 4 * 128 + 1
    heads = 2 * (128 * 16 + 16) + 16 * 5 + 5
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == first + 3 * other + heads


@pytest.mark.parametrize("name", ["mixed", "fixed edges"])
def test_encoding_follows_the_formula_with_running_statistics(name):
    archs = some(LAYOUTS[name], 10)
    model = make(LAYOUTS[name])
    for step in range(5):
        model.loss(archs, rng=stream(step, "loss"))
    mean, deviation, _ = posterior(model, archs, running)
    got = model.encode(archs)
    assert torch.allclose(got[0], mean.flatten(1), atol=1e-5)
    assert torch.allclose(got[1], 2 * deviation.log().flatten(1), atol=1e-5)


@pytest.mark.parametrize("name", ["mixed", "fixed edges"])
def test_loss_is_that_of_the_released_code(name):
    layout, batch = LAYOUTS[name], 9
    archs = some(layout, batch)
    model = make(layout, kl_weight=1 / batch)
    with torch.no_grad():  # sigmoids of large numbers are 1, and their loss is cut there
        model.posterior.weight.mul_(0.1)
        model.posterior.bias.mul_(0.1)
    mean, deviation, ops = posterior(model, archs, of_batch)
    rng = stream(0, "loss")
    latent = mean + deviation * torch.randn(mean.shape, generator=rng)
    latent = latent * (torch.rand(mean.shape, generator=rng) >= 0.3) / 0.7
    of_ops = binary_cross_entropy(torch.sigmoid(model.op_head(latent)), ops)
    edges = torch.sigmoid(latent @ latent.mT).triu(1)
    of_edges = binary_cross_entropy(edges, archs.adj.float())
    normal = torch.distributions.Normal(mean, deviation)
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    kl = kl.sum(dim=2).mean() / (batch * layout.max_nodes)
    for term in (of_ops, of_edges, kl):
        assert term > 1e-3
    got = model.loss(archs, rng=stream(0, "loss"))
    assert torch.allclose(got, of_ops + of_edges + kl, rtol=1e-4)


def test_training_moves_the_running_statistics_as_torch_does():
    layout = LAYOUTS["cell"]
    archs, model = some(layout, 10), make(layout)
    norm = torch.nn.BatchNorm1d(12)
    ops = one_hot(archs.ops, 4).float() * archs.node_mask[:, :, None]
    rows = ops + (archs.adj | archs.adj.mT).float() @ ops + model.layers[0].own * ops
    norm(model.layers[0].first(rows).flatten(0, 1))
    model.loss(archs, rng=stream(0, "loss"))
    assert torch.allclose(model.layers[0].norms[0].running_mean, norm.running_mean, atol=1e-6)
    assert torch.allclose(model.layers[0].norms[0].running_var, norm.running_var, atol=1e-6)
    model.eval()
    before = model.layers[0].norms[0].running_mean.clone()
    model.loss(archs[:3], rng=stream(0, "loss"))
    assert torch.equal(model.layers[0].norms[0].running_mean, before)


def test_decoding_takes_the_largest_operation_and_positive_products_up_to_the_first_end():
    model = make(CELL)
    latent = torch.randn(200, model.latent_size, generator=stream(0, "points"))
    archs = model.decode(latent, rng=stream(0, "decode"))
    assert len(archs.num_nodes.unique()) > 3
    for i in range(200):
        nodes = latent[i].view(7, 4)
        scores = model.op_head(nodes)
        ops = [0, *(1 + scores[1:6, 1:].argmax(dim=1)).tolist(), 4]
        count = ops.index(4) + 1
        adj = (torch.sigmoid(nodes @ nodes.T) > 0.5).triu(1)[:count, :count]
        expected = ArchitectureBatch(
            torch.tensor([ops[:count] + [0] * (7 - count)]),
            pad(adj, (0, 7 - count, 0, 7 - count))[None],
            torch.tensor([count]),
        )
        assert archs[i : i + 1].equal(expected).all()


def test_nodes_that_the_undirected_graph_does_not_tell_apart_share_an_encoding():
    layout = LAYOUTS["fixed edges"]  # a diamond
    archs = complete_graphs(layout)
    twins = archs.ops[:, 1] == archs.ops[:, 2]
    mean = make(layout).encode(archs)[0].unflatten(1, (4, 4))
    same = (mean[:, 1] - mean[:, 2]).abs().amax(dim=1) < 1e-5
    assert torch.equal(same, twins)


def test_one_node_cannot_be_normalised():
    layout = LAYOUTS["one node"]
    model, archs = make(layout), complete_graphs(layout)
    with pytest.raises(ValueError, match="larger batch"):
        model.loss(archs[:1], rng=stream(0, "loss"))
    assert model.loss(archs[:2], rng=stream(0, "loss")).isfinite()
