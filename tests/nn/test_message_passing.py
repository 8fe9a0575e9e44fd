import pytest
import torch
from torch import nn
from torch.func import functional_call

from netwright.nn.message_passing import AttentionMessagePassing
from netwright.nn.propagation import gru
from netwright.rng import scoped, stream

HIDDEN, FEATURES = 5, 4
#: Every way to build the block.
BLOCKS = {
    "paper": {},
    "vector gate": {"gate": "vector"},
    "own weights": {"tied": False},
    "released": {"gate": "vector", "tied": False, "own": None, "symmetric": True, "relu": True},
    "released, scalar gate": {"tied": False, "own": None, "symmetric": True, "relu": True},
    "symmetric with own messages": {"symmetric": True},
    "symmetric with own messages, vector gate": {"symmetric": True, "gate": "vector"},
}


def _block(rounds=3, seed=0, **options):
    with scoped(stream(seed, "block")):
        return AttentionMessagePassing(HIDDEN, FEATURES, rounds, **options).double()


def _slow(block, state, features, source, target, along, against):
    """[GraphPNAS] equations 7 to 10, one node and one neighbour at a time."""
    neighbours = {i: [] for i in range(len(state))}
    if block.own is not None:
        neighbours = {i: [(i, block.own)] for i in neighbours}
    edges = zip(source.tolist(), target.tolist(), along.tolist(), against.tolist(), strict=True)
    for j, i, there, back in edges:
        neighbours[i].append((j, there))
        neighbours[j].append((i, back))
    size = HIDDEN
    for r in range(block.rounds):
        own = {name: p[0, r % p.shape[1]] for name, p in block.named_parameters()}
        of_kind, of_features = own["of_kind"], own["of_features"]
        summed = []
        for i, around in neighbours.items():
            total = torch.zeros(size, dtype=state.dtype)
            for j, kind in around:
                h, u = state[i] - state[j], features[i] - features[j]
                f = h @ own["of_state"][:, :size] + own["message_bias"] + of_kind[kind, :size]
                g = h @ own["of_state"][:, size : 2 * size] + own["attention_bias"]
                if block.symmetric:
                    f = f + u @ of_features[:, :size]
                    g = g + u @ of_features[:, size:] + of_kind[kind, size:]
                else:
                    g = g + u @ of_features
                m = f.relu() @ own["message_out"] + own["message_out_bias"]  # eq. 7
                a = g.relu() @ own["attention_out"] + own["attention_out_bias"]
                total = total + torch.sigmoid(a) * m  # eq. 8-9
            summed.append(total)
        cell = nn.GRUCell(size, size).double()
        cell_parameters = {
            "weight_ih": own["of_input"].T,
            "weight_hh": own["of_state"][:, 2 * size :].T,
            "bias_ih": own["of_input_bias"],
            "bias_hh": own["of_state_bias"],
        }
        state = functional_call(cell, cell_parameters, (torch.stack(summed), state))  # eq. 10
        if block.relu and r < block.rounds - 1:
            state = state.relu()
    return state


def _problem(seed=1):
    rng = stream(seed, "problem")
    state, features = (
        torch.randn(6, size, generator=rng, dtype=torch.float64) for size in (HIDDEN, FEATURES)
    )
    # Two graphs: a diamond with a short cut, and a single edge.
    source = torch.tensor([0, 0, 1, 2, 0, 4])
    target = torch.tensor([1, 2, 3, 3, 3, 5])
    along, against = torch.tensor([0, 0, 1, 1, 1, 0]), torch.tensor([1, 1, 0, 1, 0, 1])
    return state, features, source, target, along, against


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_equals_the_equations_node_by_node(options):
    block, problem = _block(**options), _problem()
    torch.testing.assert_close(block(*problem), _slow(block, *problem))


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_gradients_equal_those_of_the_equations(options):
    block, (state, features, *graph) = _block(**options), _problem()
    state.requires_grad_()
    features.requires_grad_()
    wanted = [state, features, *block.parameters()]
    weight = torch.randn(6, HIDDEN, generator=stream(2, "weight"), dtype=torch.float64)
    problem = (state, features, *graph)
    fast = torch.autograd.grad((block(*problem) * weight).sum(), wanted)
    slow = torch.autograd.grad((_slow(block, *problem) * weight).sum(), wanted)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_replicas_do_not_see_one_another(options):
    blocks = [_block(seed=seed, **options) for seed in range(3)]
    problems = [_problem(seed) for seed in range(3)]
    stacked = {
        name: torch.cat([block.state_dict()[name] for block in blocks])
        for name, _ in blocks[0].named_parameters()
    }
    state, features, *_ = (torch.cat(parts) for parts in zip(*problems, strict=True))
    shift = 6 * torch.arange(3)[:, None]
    source, target = ((p + shift).flatten() for p in (problems[0][2], problems[0][3]))
    along, against = (p.repeat(3) for p in problems[0][4:])
    together = functional_call(
        blocks[0], stacked, (state, features, source, target, along, against)
    )
    alone = [block(*problem) for block, problem in zip(blocks, problems, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_graphs_do_not_see_one_another():
    block, (state, features, source, target, along, against) = _block(), _problem()
    together = block(state, features, source, target, along, against)
    alone = block(state[4:], features[4:], source[5:] - 4, target[5:] - 4, along[5:], against[5:])
    torch.testing.assert_close(together[4:], alone)


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_a_graph_without_edges(options):
    block, nothing = _block(**options), torch.zeros(0, dtype=torch.long)
    state = torch.randn(1, HIDDEN, generator=stream(3, "state"), dtype=torch.float64)
    problem = (state, torch.zeros(1, FEATURES).double(), *[nothing] * 4)
    torch.testing.assert_close(block(*problem), _slow(block, *problem))


def test_gru_is_torchs():
    rng = stream(0, "gru")
    cell = nn.GRUCell(3, 4)
    x, h = torch.randn(7, 3, generator=rng), torch.randn(7, 4, generator=rng)
    of_input = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
    of_state = nn.functional.linear(h, cell.weight_hh, cell.bias_hh)
    torch.testing.assert_close(gru(h, of_input, of_state), cell(x, h))


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_kinds_are_the_directions_unless_said_otherwise(options):
    block, (state, features, source, target, along, against) = _block(**options), _problem()
    for i, same in enumerate((along * 0, against * 0 + 1)):
        assert same.unique().tolist() == [i]
    weight = torch.randn(6, HIDDEN, generator=stream(2, "weight"), dtype=torch.float64)
    short = block(state, features, source, target)
    long = block(state, features, source, target, along * 0, against * 0 + 1)
    torch.testing.assert_close(short, long)
    gradients = [
        torch.autograd.grad((out * weight).sum(), list(block.parameters())) for out in (short, long)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
