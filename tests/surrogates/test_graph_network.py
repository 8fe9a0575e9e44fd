import math

import pytest
import torch

from netwright import metrics
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import scoped, stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.surrogates.graph_network import GraphNetwork, GraphNetworkPredictor
from netwright.surrogates.predictors import Predictor
from netwright.surrogates.regression import Training
from netwright.testing.generators import complete_graphs

SPACE = NASBench101()
OTHER = Layout.make(4, 4, allowed_ops=[[1], [1, 2], [1, 2], [3]], end_op=3)
QUICK = Training(epochs=30, batch_size=16, learning_rate=1e-2, schedule="cosine")


def graphs(n, seed=0):
    return SPACE.sample(n, rng=stream(seed, "archs"))


def quality(archs):
    """An accuracy around 0.9 that depends on operations and edges."""
    return 0.88 + 0.02 * (archs.ops == 2).sum(dim=1) - 0.002 * archs.num_edges.float()


def fitted(*, n=60, seed=0, score=quality):
    predictor, archs = GraphNetworkPredictor(SPACE.layout, hidden=16, training=QUICK), graphs(n)
    predictor.fit(archs, score(archs), rng=stream(seed, "fit"))
    return predictor


def network(seed=0):
    with scoped(stream(seed, "network")):
        return GraphNetwork(5, hidden=6, layers=2, head=4)


def test_the_formula_of_the_paper():
    """Node by node, for one graph with padding."""
    net = network()
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        adj[0, i, j] = True
    arch = ArchitectureBatch(torch.tensor([[0, 3, 4, 0]]), adj, torch.tensor([3]))
    state = torch.eye(5)[[0, 3, 4]]
    for layer in net.both:
        weight_along, weight_against = layer.weight[:6].T, layer.weight[6:].T
        new = []
        for i in range(3):
            out = [i, *[j for j in range(3) if adj[0, i, j]]]
            into = [i, *[j for j in range(3) if adj[0, j, i]]]
            along = torch.stack([state[j] for j in out]).mean(dim=0) @ weight_along
            against = torch.stack([state[j] for j in into]).mean(dim=0) @ weight_against
            new.append((along.relu() + against.relu()) / 2)
        state = torch.stack(new)
    torch.testing.assert_close(net(arch), net.head(state.mean(dim=0)))


def test_neither_padding_nor_the_order_of_nodes_counts():
    net, archs = network(), graphs(50)
    torch.testing.assert_close(net(archs.pad(9)), net(archs))
    shuffled = dag.reorder(archs, dag.random_order(archs, rng=stream(0, "order")))
    assert not bool(shuffled.equal(archs).all())
    torch.testing.assert_close(net(shuffled), net(archs))


def test_direction_counts():
    net, archs = network(), graphs(50)
    turned = ArchitectureBatch(archs.ops, archs.adj, archs.num_nodes)
    turned = dag.reverse(turned)
    assert (net(turned) - net(archs)).abs().max() > 1e-3


def test_it_is_a_predictor():
    assert isinstance(GraphNetworkPredictor(SPACE.layout), Predictor)


def test_it_predicts_better_than_the_mean():
    predictor, rest = fitted(), graphs(200, seed=1)
    found, truth = predictor.predict(rest), quality(rest)
    assert metrics.mse(found, truth) < 0.3 * float(truth.var())
    assert metrics.kendall_tau(found, truth) > 0.5  # a sign flipped makes it negative


def test_the_rng_decides_everything():
    before, rest = torch.get_rng_state(), graphs(20, seed=1)
    one, two, other = (fitted(seed=seed).predict(rest) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_may_have_any_scale():
    rest = graphs(20, seed=1)
    scaled = fitted(score=lambda archs: 100 * quality(archs) - 7).predict(rest)
    torch.testing.assert_close(scaled, 100 * fitted().predict(rest) - 7, atol=0.05, rtol=0)


def test_failed_evaluations_are_left_out():
    archs, rest = graphs(40), graphs(20, seed=1)
    failed = torch.arange(40) % 3 == 0
    partly, clean = (GraphNetworkPredictor(SPACE.layout, hidden=8, training=QUICK) for _ in "ab")
    score = quality(archs)
    partly.fit(archs, score.masked_fill(failed, math.nan), rng=stream(0, "fit"))
    clean.fit(archs[~failed], score[~failed], rng=stream(0, "fit"))
    assert torch.equal(partly.predict(rest), clean.predict(rest))


def test_an_architecture_has_one_score_in_whatever_batch(monkeypatch):
    predictor, rest = fitted(n=20), graphs(9, seed=1)
    whole = predictor.predict(rest)
    monkeypatch.setattr("netwright.surrogates.graph_network._AT_ONCE", 4)
    torch.testing.assert_close(predictor.predict(rest.pad(8)), whole, atol=1e-6, rtol=1e-5)
    assert predictor.predict(rest[:0]).shape == (0,)


def test_equal_scores_are_predicted():
    found = fitted(score=lambda archs: torch.full((len(archs),), 0.7)).predict(graphs(40))
    assert metrics.rmse(found, torch.full((40,), 0.7)) < 0.2


def test_what_it_cannot_learn_is_refused():
    predictor, archs, rng = GraphNetworkPredictor(SPACE.layout), graphs(3), stream(0, "fit")
    with pytest.raises(ValueError, match="call fit first"):
        predictor.predict(archs)
    for score, said in (
        (torch.full((3,), math.nan), "no score is known"),
        (torch.full((3,), math.inf), "infinite"),
        (torch.zeros(2), "2 scores for 3"),
    ):
        with pytest.raises(ValueError, match=said):
            predictor.fit(archs, score, rng=rng)
    other = complete_graphs(OTHER)
    with pytest.raises(ValueError, match="layout"):
        predictor.fit(other, torch.rand(len(other)), rng=rng)
    with pytest.raises(ValueError, match="layout"):
        fitted(n=20).predict(other)
