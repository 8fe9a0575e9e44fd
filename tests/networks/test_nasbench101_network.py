"""NAS-Bench-101's cell against the official rules, written down once more and differently."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from netwright import rng as streams
from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.cost import count_parameters
from netwright.networks.nasbench101 import (
    PRESETS,
    NASBench101Cell,
    nasbench101_network,
    node_channels,
)
from netwright.networks.skeleton import Skeleton
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101()
SMALL = PRESETS["small"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def matrix(n, *edges):
    return [[(i, j) in edges for j in range(n)] for i in range(n)]


def plain(arch):
    n = int(arch.num_nodes[0])
    return [SPACE.op_names[op] for op in arch.ops[0, :n].tolist()], arch.adj[0, :n, :n].tolist()


# Channels, from the official tests of `compute_vertex_channels` and by hand.

CHAIN = matrix(4, (0, 1), (1, 2), (2, 3))
DIAMOND = matrix(5, (0, 1), (0, 2), (1, 3), (2, 3), (3, 4))
TWO_WAYS = matrix(4, (0, 1), (0, 2), (1, 3), (2, 3))
THREE_WAYS = matrix(5, (0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4))
FORK = matrix(5, (0, 1), (1, 2), (1, 3), (2, 4), (3, 4))
DETOUR = matrix(5, (0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (3, 4))


@pytest.mark.parametrize(
    ("adj", "in_channels", "channels", "expected"),
    [
        (CHAIN, 8, 16, [8, 16, 16, 16]),
        (CHAIN, 16, 8, [16, 8, 8, 8]),
        (matrix(2, (0, 1)), 1, 5, [1, 5]),
        (DIAMOND, 8, 16, [8, 16, 16, 16, 16]),
        (TWO_WAYS, 8, 8, [8, 4, 4, 8]),
        (TWO_WAYS, 8, 15, [8, 8, 7, 15]),
        (THREE_WAYS, 8, 8, [8, 3, 3, 2, 8]),
        (THREE_WAYS, 128, 128, [128, 43, 43, 42, 128]),
        (FORK, 8, 9, [8, 5, 5, 4, 9]),
        (DETOUR, 8, 15, [8, 8, 7, 7, 15]),
    ],
)
def test_channels_of_known_cells(adj, in_channels, channels, expected):
    assert node_channels(adj, in_channels, channels) == expected


def test_too_few_channels_is_one_clear_error():
    with pytest.raises(ValueError, match="2 channels cannot be divided among 3 nodes"):
        node_channels(THREE_WAYS, 8, 2)


# The forward pass.


def official(cell, ops, adj, x, channels):
    """The value of a cell in training mode, by recursion from the output."""
    weights, last = cell.state_dict(), len(ops) - 1

    def conv_bn_relu(name, value, kernel):
        weight = weights[f"{name}.0.weight"]
        assert weight.shape[2:] == (kernel, kernel)
        value = functional.conv2d(value, weight, padding=kernel // 2)
        mean = value.mean(dim=(0, 2, 3), keepdim=True)
        variance = value.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        scale, shift = weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]
        value = (value - mean) / (variance + 1e-5).sqrt()
        return (value * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    def width(node):
        heads = [v for v in range(1, last) if adj[v][last]]
        if node in heads:
            return channels // len(heads) + (heads.index(node) < channels % len(heads))
        return max(width(w) for w in range(1, last) if adj[node][w])

    def value_of(node):
        total = 0.0
        for source in range(1, node):
            if adj[source][node]:
                total = total + value_of(source)[:, : width(node)]
        if adj[0][node]:
            total = total + conv_bn_relu(f"projections.{node}", x, 1)
        if ops[node] == "maxpool3x3":
            padded = functional.pad(total, (1, 1, 1, 1), value=-torch.inf)
            return padded.unfold(2, 3, 1).unfold(3, 3, 1).amax(dim=(4, 5))
        return conv_bn_relu(f"operations.{node}", total, 1 if "1x1" in ops[node] else 3)

    heads = [value_of(v) for v in range(1, last) if adj[v][last]]
    out = torch.cat(heads, dim=1) if heads else 0.0
    if adj[0][last]:
        out = out + conv_bn_relu(f"projections.{last}", x, 1)
    return out


def sample_cells():
    archs = SPACE.sample(60, rng=rng(1))
    two_nodes = SPACE.from_text(["input,output:0100"])
    return ArchitectureBatch.cat([archs, two_nodes])


@pytest.mark.parametrize(("in_channels", "channels"), [(6, 11), (4, 16)])
def test_cells_compute_what_the_official_rules_say(in_channels, channels):
    archs, x = sample_cells(), torch.randn(3, in_channels, 5, 4, generator=rng(2)).double()
    for i in range(len(archs)):
        ops, adj = plain(archs[i : i + 1])
        with streams.scoped(rng(i)):
            cell = NASBench101Cell(ops, adj, in_channels, channels, SMALL).double()
            for parameter in cell.parameters():  # scales and shifts too
                nn.init.normal_(parameter)
        expected = official(cell, ops, adj, x, channels)
        torch.testing.assert_close(cell(x), expected)
        assert cell(x).shape == (3, channels, 5, 4)


def test_cells_are_in_the_middle_of_things():
    """The cells of the test above exercise every rule."""
    cells = [plain(cell) for cell in (sample_cells()[i : i + 1] for i in range(61))]
    heads = [sum(row[-1] for row in adj[1:]) for _, adj in cells]
    assert {0, 1, 2, 3} <= set(heads)
    assert any(adj[0][-1] and head for (_, adj), head in zip(cells, heads, strict=True))
    assert any(11 % head and head > 1 for head in heads if head)


# The structure: a missing normalisation or activation fails here.


def kinds(module):
    return [type(leaf).__name__ for leaf in module.modules() if not list(leaf.children())]


CONV_BN_RELU = ["Conv2d", "BatchNorm2d", "ReLU"]
TEXT = "input,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,output:0110100001000100000100000"


def test_structure_of_a_known_network():
    arch = SPACE.parse([TEXT])  # 0 -> 1, 0 -> 2, 0 -> 4, 1 -> 4, 2 -> 3, 3 -> 4
    assert plain(arch)[1] == matrix(5, (0, 1), (0, 2), (0, 4), (1, 4), (2, 3), (3, 4))
    network = nasbench101_network(arch, in_channels=3, num_classes=10)
    assert kinds(network.stem) == CONV_BN_RELU
    cell = network.body[0]
    assert set(cell.projections) == {"1", "2", "4"}
    assert all(kinds(projection) == CONV_BN_RELU for projection in cell.projections.values())
    assert kinds(cell.operations["1"]) == kinds(cell.operations["3"]) == CONV_BN_RELU
    assert kinds(cell.operations["2"]) == ["MaxPool2d"]
    assert cell.operations["1"][0].kernel_size == (3, 3)
    assert cell.operations["3"][0].kernel_size == (1, 1)
    cells = ["NASBench101Cell"] * 3
    body = [type(part).__name__ for part in network.body]
    assert body == [*cells, "MaxPool2d", *cells, "MaxPool2d", *cells]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is None for conv in convolutions)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(convolutions) == 1 + 9 * 5
    assert all((m.momentum, m.eps, m.affine) == (0.003, 1e-5, True) for m in norms)
    assert network.classifier.weight.shape == (10, 512)


def test_initialisation_is_the_official_one():
    """Variance 1 / fan-in, nothing beyond two of the normal's standard deviations."""
    with streams.scoped(rng()):
        network = nasbench101_network(SPACE.parse([TEXT]), in_channels=3, num_classes=10)
    weight = network.body[-1].operations["1"][0].weight.detach()  # 3x3, 256 channels
    expected = (256 * 9) ** -0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.01)
    assert 2 * expected < weight.abs().max() <= 2 * expected / 0.8796
    assert network.classifier.bias.eq(0).all()
    bound = (6 / (512 + 10)) ** 0.5  # Glorot, uniform
    assert 0.99 * bound < network.classifier.weight.abs().max() <= bound


# Node order.


def relabelled(arch, *, rng):
    """The same cell in a random topological order."""
    n, adj = int(arch.num_nodes[0]), arch.adj[0]
    order = [0]
    while len(order) < n:
        ready = [
            v for v in range(n) if v not in order and all(u in order for u in range(n) if adj[u, v])
        ]
        order.append(ready[int(torch.randint(len(ready), (), generator=rng))])
    at = torch.tensor(order)
    return ArchitectureBatch(arch.ops[:, at], arch.adj[:, at][:, :, at], arch.num_nodes)


def test_node_order_does_not_change_the_count_where_channels_divide_evenly():
    skeleton = Skeleton(stem_channels=60, stacks=2, cells=2)  # 60 = 1 * 2 * 3 * 4 * 5
    archs = SPACE.sample(150, rng=rng(3))
    pairs = [(archs[i : i + 1], relabelled(archs[i : i + 1], rng=rng(i))) for i in range(150)]
    moved = [(arch, other) for arch, other in pairs if not bool(arch.equal(other))]
    assert len(moved) > 15
    for cells in moved:
        assert torch.equal(SPACE.keys(cells[0]), SPACE.keys(cells[1]))
        a, b = (
            count_parameters(
                nasbench101_network(cell, in_channels=3, num_classes=10, preset=skeleton)
            )
            for cell in cells
        )
        assert a == b


def test_node_order_decides_who_gets_the_remaining_channels():
    """As in the benchmark: of 16 channels for three nodes, the first gets 6."""
    texts = ["input,{},{},maxpool3x3,output:0111000001000010000100000".format(*ops)
             for ops in [("conv3x3-bn-relu", "conv1x1-bn-relu"),
                         ("conv1x1-bn-relu", "conv3x3-bn-relu")]]  # fmt: skip
    a, b = SPACE.parse(texts[:1]), SPACE.parse(texts[1:])
    assert torch.equal(SPACE.keys(a), SPACE.keys(b))
    skeleton = Skeleton(stem_channels=16, stacks=1, cells=1)
    counts = [
        count_parameters(nasbench101_network(x, in_channels=1, num_classes=2, preset=skeleton))
        for x in (a, b)
    ]
    assert counts[0] - counts[1] == (9 * 36 + 25) - (36 + 9 * 25)


def test_cells_larger_than_the_benchmarks_can_be_built():
    edges = [(i, i + 1) for i in range(8)] + [(i, i + 2) for i in range(7)]  # 9 nodes, 15 edges
    ops = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 1, 4]])
    arch = ArchitectureBatch(ops, torch.tensor([matrix(9, *edges)]), torch.tensor([9]))
    network = nasbench101_network(arch, in_channels=1, num_classes=4, preset="small")
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 4)
