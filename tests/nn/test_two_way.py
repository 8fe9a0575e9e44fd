"""Message passing in two directions, against a literal reading of the equations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.nn.joint import JointPropagation
from netwright.nn.two_way import Neighbours, TwoWayPropagation
from netwright.rng import scoped, stream


def made(kind, size=10, rounds=2):
    with scoped(stream(0, "parameters")):
        return kind(size, rounds).double()


def graphs(count, nodes, seed=0, p=0.5):
    draws = torch.rand(count, nodes, nodes, generator=stream(seed, "edges"))
    return (draws < p).triu(diagonal=1)


def states(count, nodes, size, seed=0):
    return torch.randn(count, nodes, size, dtype=torch.double, generator=stream(seed, "states"))


def pairs(x):
    """[h_u, h_v] for receiver v (second axis) and sender u (third)."""
    nodes = x.shape[1]
    sender = x[:, None].expand(-1, nodes, -1, -1)
    receiver = x[:, :, None].expand(-1, -1, nodes, -1)
    return torch.cat([sender, receiver], dim=3)


def literally_two_way(model, state, adj):
    """[SVGe] eq. 2 and 3, a message per pair of nodes."""
    halves = list(state.split(model.side, dim=2))
    ways = (adj.mT.double(), adj.double())  # [receiver, sender]
    for r in range(model.rounds):
        for way in (0, 1):
            h = halves[way]
            message, cell = model.message[2 * r + way], model.update[2 * r + way]
            total = (message(pairs(h)) * ways[way][..., None]).sum(dim=2)
            halves[way] = cell(total.flatten(0, 1), h.flatten(0, 1)).view_as(h)
    return torch.cat(halves, dim=2)


def literally_joint(model, state, adj):
    h = state
    for along, against, cell in zip(model.along, model.against, model.update, strict=True):
        total = (along(pairs(h)) * adj.mT.double()[..., None]).sum(dim=2)
        total = total + (against(pairs(h)) * adj.double()[..., None]).sum(dim=2)
        h = cell(total.flatten(0, 1), h.flatten(0, 1)).view_as(h)
    return h


LITERALLY = {TwoWayPropagation: literally_two_way, JointPropagation: literally_joint}
KINDS = pytest.mark.parametrize("kind", LITERALLY, ids=lambda kind: kind.__name__)


@KINDS
@pytest.mark.parametrize(("size", "rounds"), [(2, 1), (10, 2), (36, 3)])
def test_it_is_what_the_equations_say(kind, size, rounds):
    model, adj = made(kind, size, rounds), graphs(6, 5)
    state = states(6, 5, size)
    torch.testing.assert_close(model(state, adj), LITERALLY[kind](model, state, adj))


@KINDS
def test_gradients_are_those_of_the_equations(kind):
    model, adj = made(kind), graphs(5, 6)
    state = states(5, 6, 10).requires_grad_()
    weight = states(5, 6, 10, seed=1)
    wanted = [state, *model.parameters()]
    ours = torch.autograd.grad((model(state, adj) * weight).sum(), wanted)
    theirs = torch.autograd.grad((LITERALLY[kind](model, state, adj) * weight).sum(), wanted)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@KINDS
def test_no_edges_and_no_graphs(kind):
    model = made(kind)
    state = states(3, 2, 10)
    bare = torch.zeros(3, 2, 2, dtype=torch.bool)
    torch.testing.assert_close(model(state, bare), LITERALLY[kind](model, state, bare))
    assert model(state[:0], bare[:0]).shape == (0, 2, 10)


@KINDS
def test_weights_made_before_give_the_same(kind):
    model, adj, state = made(kind), graphs(4, 5), states(4, 5, 10)
    torch.testing.assert_close(model(state, adj, model.merged()), model(state, adj))


def test_each_half_follows_its_own_direction():
    """On a chain, one round along the edges moves what the first node says to the second only."""
    model = made(TwoWayPropagation, rounds=1)
    chain = torch.zeros(1, 3, 3, dtype=torch.bool)
    chain[0, 0, 1] = chain[0, 1, 2] = True
    state = states(1, 3, 10)
    changed = state.clone()
    changed[0, 0] += 1
    moved = (model(state, chain) - model(changed, chain)).abs().sum(dim=2)[0] > 1e-9
    halves = (model(state, chain) - model(changed, chain)).abs().unflatten(2, (2, 5)).sum(dim=3)[0]
    assert moved.tolist() == [True, True, False]
    assert (halves > 1e-9).tolist() == [[True, True], [True, False], [False, False]]


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="must be even, not 5"):
        TwoWayPropagation(5, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
def test_neighbours_sum_states_and_give_gradients_back(count, nodes, p, seed):
    adj, state = graphs(count, nodes, seed, p), states(count, nodes, 6, seed)
    routes = Neighbours.of(adj)
    along, against = state.split(3, dim=2)
    expected = torch.stack([adj.mT.double() @ along, adj.double() @ against]).flatten(1, 2)
    torch.testing.assert_close(routes.gather(state.flatten(0, 1)), expected)
    grad = states(2, count * nodes, 3, seed + 1)
    back = routes.scatter(grad).unflatten(1, (count, nodes))
    torch.testing.assert_close(back[0], adj.double() @ grad[0].unflatten(0, (count, nodes)))
    torch.testing.assert_close(back[1], adj.mT.double() @ grad[1].unflatten(0, (count, nodes)))
    degrees = torch.stack([adj.sum(dim=1), adj.sum(dim=2)]).flatten(1)
    assert torch.equal(routes.degree[..., 0], degrees.to(routes.degree.dtype))
