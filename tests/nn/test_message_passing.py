import torch
from torch import nn

from netwright.nn.message_passing import AttentionMessagePassing
from netwright.rng import scoped, stream

ALONG, AGAINST, SELF = torch.eye(3)  # along the edge, against it, to itself


def _block(rounds=3, hidden=5, features=4):
    with scoped(stream(0, "block")):
        return AttentionMessagePassing(hidden, features, rounds)


def _slow(block, state, features, source, target):
    """[GraphPNAS] equations 7 to 10, one node and one neighbour at a time."""
    edges = list(zip(source.tolist(), target.tolist(), strict=True))
    neighbours = {i: [(i, SELF)] for i in range(len(state))}
    for j, i in edges:
        neighbours[i].append((j, ALONG))
        neighbours[j].append((i, AGAINST))

    def mlp(part, x):
        return part.second(torch.relu(part.first(x)))

    for _ in range(block.rounds):
        with_features = torch.cat([state, features], dim=1)  # eq. 8
        summed = []
        for i, around in neighbours.items():
            total = torch.zeros(state.shape[1])
            for j, direction in around:
                m = mlp(block.message, torch.cat([state[i] - state[j], direction]))  # eq. 7
                a = torch.sigmoid(mlp(block.attention, with_features[i] - with_features[j]))  # 9
                total = total + a * m
            summed.append(total)
        cell: nn.GRUCell = block.update
        state = cell(torch.stack(summed), state)  # eq. 10
    return state


def _problem():
    rng = stream(1, "problem")
    state, features = torch.randn(6, 5, generator=rng), torch.randn(6, 4, generator=rng)
    # Two graphs: a diamond with a short cut, and a single edge.
    source = torch.tensor([0, 0, 1, 2, 0, 4])
    target = torch.tensor([1, 2, 3, 3, 3, 5])
    return state, features, source, target


def test_equals_the_equations_node_by_node():
    block, problem = _block(), _problem()
    assert torch.allclose(block(*problem), _slow(block, *problem), atol=1e-5)


def test_gradients_equal_those_of_the_equations():
    block, problem = _block(), _problem()
    weight = torch.randn(6, 5, generator=stream(2, "weight"))
    fast = torch.autograd.grad((block(*problem) * weight).sum(), list(block.parameters()))
    slow = torch.autograd.grad((_slow(block, *problem) * weight).sum(), list(block.parameters()))
    for a, b in zip(fast, slow, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_graphs_do_not_see_one_another():
    block, (state, features, source, target) = _block(), _problem()
    together = block(state, features, source, target)
    alone = block(state[4:], features[4:], source[5:] - 4, target[5:] - 4)
    assert torch.allclose(together[4:], alone, atol=1e-6)


def test_a_graph_without_edges():
    block, nothing = _block(), torch.zeros(0, dtype=torch.long)
    state, features = torch.randn(1, 5, generator=stream(3, "state")), torch.zeros(1, 4)
    expected = _slow(block, state, features, nothing, nothing)
    assert torch.allclose(block(state, features, nothing, nothing), expected, atol=1e-5)
