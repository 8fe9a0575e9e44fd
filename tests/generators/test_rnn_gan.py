"""The recurrent generator against one that grows a graph node by node, and its gradients."""

import math

import pytest
import torch

from netwright.generators.base import complete
from netwright.generators.relaxed import Relaxed, replica, stacked
from netwright.generators.rnn_gan import RNNGAN
from netwright.generators.three_way import ThreeWay, ThreeWayOptions
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.testing.generators import LAYOUTS

SPACE = NASBench101()
SMALL = NASBench101(max_nodes=5, max_edges=6)
KINDS = {
    "nasbench101": SPACE.layout,
    "freed": SPACE.layout.freed(keep_ends=True),
    "limited": SMALL.layout,
    "mixed": LAYOUTS["mixed"],
    "chain": LAYOUTS["chain"],
}


def make(layout=SMALL.layout, *, seed=0, **options):
    sizes = {"latent_size": 6, "hidden": 7}
    generator = RNNGAN(layout, rng=stream(seed, "generator"), **sizes | options)
    with torch.no_grad():
        for parameter in generator.parameters():
            noise = torch.randn(parameter.shape, generator=stream(seed, "noise"))
            parameter.add_(noise, alpha=0.3)
    return generator


def drawn(generator, n=20, *, seeds=None, **options):
    seeds = range(generator.replicas) if seeds is None else seeds
    return generator.draw(n, rngs=[stream(seed, "draw") for seed in seeds], **options)


def linear(layer, x):
    return x @ layer.weight[0] + layer.bias[0]


def gru(generator, before, given):
    r, z, c = given.chunk(3)
    of_r, of_z, of_c = linear(generator.recur, before).chunk(3)
    reset, keep = torch.sigmoid(r + of_r), torch.sigmoid(z + of_z)
    return (1 - keep) * torch.tanh(c + reset * of_c) + keep * before


def bounded(x, bound):
    return x if bound is None else bound * torch.tanh(x / bound)


def grown(generator, latent, noise, temperature):
    """One graph, appended to until it stops: operations, edges with their margins, entropy."""
    layout, h = generator.layout, generator.hidden
    state = torch.tanh(linear(generator.start, latent))
    for_op, for_edges, *_ = linear(generator.read, state).split([2 * h, 2 * h, 2 * h, h, h])
    ops, edges, messages, sources, nats = [], {}, [], [], 0.0
    for v in range(layout.max_nodes):
        scores = bounded(linear(generator.op_out, for_op.relu()), generator.op_bound)
        scores = scores / temperature
        allowed = layout.allowed_ops[v].clone()
        if layout.end_op is not None:  # it ends the last node, and may end others if all may
            if v == layout.max_nodes - 1:
                allowed[:] = False
                allowed[layout.end_op] = True
            elif v == 0 or not generator.stops:
                allowed[layout.end_op] = False
        scores[~allowed] = -torch.inf
        p = scores.softmax(dim=0)
        nats -= float((p * p.log())[allowed].sum())
        gumbel = -(-noise[v, layout.max_nodes :].log()).log()
        ops.append(int((scores + gumbel).argmax()))
        given, of_op = (generator.given.weight[0, ops[v]] + generator.given.bias[0]).split(
            [3 * h, 2 * h]
        )
        if v:
            total = torch.zeros(h)
            for i in range(v):
                logit = linear(generator.edge_out, (sources[i] + for_edges + of_op).relu())[0]
                logit = bounded(logit, generator.edge_bound) / temperature
                margin = float(logit + noise[i, v].log() - (1 - noise[i, v]).log())
                if layout.free[i, v]:
                    q = float(logit.sigmoid())
                    nats -= q * math.log(q) + (1 - q) * math.log(1 - q)
                if layout.forced[i, v] or (layout.free[i, v] and margin > 0):
                    edges[i, v] = margin
                    total = total + messages[i]
            state = total
        if ops[v] == layout.end_op:
            break
        state = gru(generator, state, given)
        for_op, for_edges, source, gate, message = linear(generator.read, state).split(
            [2 * h, 2 * h, 2 * h, h, h]
        )
        sources.append(source)
        messages.append(torch.sigmoid(gate) * message)
    return ops, edges, nats


def as_archs(layout, ops, edges):
    size = layout.max_nodes
    adj = torch.zeros(1, size, size, dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    padded = torch.zeros(1, size, dtype=torch.long)
    padded[0, : len(ops)] = torch.tensor(ops)
    whole = ArchitectureBatch(padded, adj, torch.tensor([len(ops)]))
    if layout.max_edges is None:
        return whole
    on_path = dag.on_path(whole)[0].tolist()
    counted = {pair: edges[pair] for pair in edges if on_path[pair[0]] and on_path[pair[1]]}
    if len(counted) > layout.max_edges:
        adj[:] = False
        for i, j in trimmed(counted, layout.max_edges):
            adj[0, i, j] = True
    return whole


def trimmed(edges, most):
    """Take the edge of the least margin, if possible one that its ends can do without."""
    edges = dict(edges)
    while len(edges) > most:
        sources, targets = [i for i, _ in edges], [j for _, j in edges]
        spare = [(i, j) for i, j in edges if sources.count(i) > 1 and targets.count(j) > 1]
        del edges[min(spare or edges, key=edges.get)]
    return edges


@pytest.mark.parametrize(
    "options",
    [{}, {"edge_bound": None, "op_bound": None}, {"edge_bound": 0.5, "op_bound": 0.7}],
    ids=str,
)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("layout", KINDS.values(), ids=KINDS)
@torch.no_grad()
def test_draws_are_graphs_grown_node_by_node(layout, temperature, options):
    generator, n = make(layout, **options), 25
    size = layout.max_nodes
    graphs = drawn(generator, n, temperature=temperature, entropy=True)
    rng = stream(0, "draw")
    latent = torch.randn(n, 6, generator=rng)
    noise = torch.rand(n, size, size + layout.num_ops, generator=rng)
    sizes, archs = set(), graphs.archs()
    for b in range(n):
        ops, edges, nats = grown(generator, latent[b], noise[b], temperature)
        sizes.add(len(ops))
        expected = as_archs(layout, ops, edges)
        if generator.stops:
            expected = dag.refine(expected)
        assert expected.equal(archs[b : b + 1]).all()
        assert graphs.entropy[0, b] == pytest.approx(nats, abs=1e-4)
    assert (len(sizes) > 2) == generator.stops


def test_where_graphs_may_stop():
    for layout in (SPACE.layout, SPACE.layout.freed(keep_ends=True), LAYOUTS["cell"].freed()):
        assert make(layout).stops
    for layout in (NASBench201.layout, LAYOUTS["mixed"], LAYOUTS["chain"], LAYOUTS["free"]):
        assert not make(layout).stops


@pytest.mark.parametrize("layout", [KINDS["nasbench101"], KINDS["freed"]], ids=["cell", "freed"])
@torch.no_grad()
def test_graphs_are_those_of_the_layout(layout):
    archs = make(layout).sample(500, rng=stream(0, "sample"))
    assert complete(archs, layout).all()
    assert archs.equal(dag.refine(archs)).all()
    assert (archs.ops[:, 0] == 0).all()
    assert len(archs.num_nodes.unique()) > 3


@torch.no_grad()
def test_edges_beyond_the_limit_never_come_out():
    for layout, most in ((KINDS["nasbench101"], 9), (KINDS["freed"], 21)):
        generator = make(layout, edge_bound=None, op_bound=None)
        generator.edge_out.bias.add_(8)  # every edge, nearly
        generator.op_out.bias[:, layout.end_op] -= 8  # as many nodes as may be
        assert generator.sample(300, rng=stream(0, "sample")).num_edges.max() == most


def test_gradients_reach_every_parameter_from_edges_and_from_operations():
    generator = make(tau=1.0)
    weight = torch.rand(200, 5, 10, generator=stream(0, "weight"))
    graphs = drawn(generator, 200)
    for loss in ((graphs.ops * weight[:, :, :5]).sum(), (graphs.adj * weight[:, :, 5:]).sum()):
        parameters = dict(generator.named_parameters())
        found = torch.autograd.grad(loss, parameters.values(), retain_graph=True)
        for name, gradient in zip(parameters, found, strict=True):
            assert gradient.isfinite().all(), name
            assert gradient.norm() > 1e-3, name


def test_states_pass_on_gradients_of_edges():
    # Whether 0 -> 1 is there is felt by the operation of node 2, through the state of node 1.
    layout = Layout.make(3, 3, allowed_ops=[[0], [0], [1, 2]])
    generator = make(layout, tau=1.0)
    graphs = drawn(generator, 100)
    loss = (graphs.ops[:, :, 2] * torch.rand(3, generator=stream(0, "weight"))).sum()
    gradient = torch.autograd.grad(loss, generator.edge_out.parameters())
    assert all(part.norm() > 1e-3 for part in gradient)


def test_the_end_has_a_gradient():
    layout = Layout.make(4, 3, allowed_ops=[[0], [1, 2], [1, 2], [2]], end_op=2)
    generator = make(layout, tau=1.0, edge_bound=None, op_bound=None)
    with torch.no_grad():
        generator.edge_out.bias.add_(20)  # all edges, so that refinement removes nothing
    graphs = drawn(generator, 400)
    assert len(graphs.real.sum(dim=2).unique()) == 3
    for measure in (graphs.ops.sum(), graphs.adj.sum()):  # larger graphs have more of either
        bias = torch.autograd.grad(measure, generator.op_out.bias, retain_graph=True)[0][0]
        assert bias[1] > 1 > -1 > bias[2]


def test_replicas_draw_what_each_draws_alone():
    models = [make(seed=seed) for seed in range(3)]
    models[1].tau.fill_(0.5)
    alone = [drawn(model, seeds=[seed], entropy=True) for seed, model in enumerate(models)]
    states = [model.state_dict() for model in models]
    stacked(models)
    together = drawn(models[0], entropy=True)
    assert models[0].replicas == 3
    for i, one in enumerate(alone):
        assert together.ops[i].equal(one.ops[0])
        assert together.adj[i].equal(one.adj[0])
        assert together.real[i].equal(one.real[0])
        assert torch.allclose(together.entropy[i], one.entropy[0], atol=1e-5)
        again = make(seed=9)
        again.load_state_dict(replica(models[0].state_dict(), i))
        assert all(states[i][name].equal(value) for name, value in again.state_dict().items())


def test_replicas_learn_what_each_learns_alone():
    def trained(seeds, *, together):
        options = ThreeWayOptions(gan_loss="non-saturating", optimiser="sgd", entropy=0.1)
        models = [ThreeWay(make(seed=s), options, rng=stream(s, "critics")) for s in seeds]
        model = ThreeWay.together(models) if together else models[0]
        data = [SMALL.sample(8, rng=stream(s, "data")) for s in seeds]
        target = torch.stack([torch.rand(8, generator=stream(s, "target")) for s in seeds])
        part = torch.full((len(seeds),), 0.4)
        for step in range(4):
            rngs = [stream(s, f"step/{step}") for s in seeds]
            model.step(Relaxed.of(data, 5), target, part, part, rngs=rngs)
        return model.generator.state_dict()

    stack = trained([0, 1], together=True)
    for i, seed in enumerate([0, 1]):
        alone, start = trained([seed], together=False), make(seed=seed).state_dict()
        for name, value in replica(stack, i).items():
            assert torch.allclose(value, alone[name], atol=1e-5), name
            assert name == "tau" or not value.equal(start[name]), name


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"latent_size": 0}, "latent_size"),
        ({"hidden": 0}, "hidden"),
        ({"tau": 0.0}, "tau"),
        ({"edge_bound": 0.0}, "edge_bound"),
        ({"op_bound": -1.0}, "op_bound"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, word):
    with pytest.raises(ValueError, match=word):
        make(**options)
