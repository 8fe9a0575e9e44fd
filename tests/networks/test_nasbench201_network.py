"""NAS-Bench-201's cell against the official one, zeros computed and all."""

import pytest
import torch
from torch import nn

from netwright import rng as streams
from netwright.networks.nasbench201 import PRESETS, NASBench201Cell, nasbench201_network
from netwright.spaces.nasbench201 import CELL_EDGES, NASBench201

SPACE = NASBench201()
SMALL = PRESETS["small"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def names(arch):
    return [SPACE.op_names[op] for op in arch.ops[0, 1:7].tolist()]


class OfficialCell(nn.Module):
    """Every edge computes, `none` by multiplying with zero."""

    def __init__(self, ops, channels):
        super().__init__()
        self.ops = dict(zip(CELL_EDGES, ops, strict=True))
        self.convs = nn.ModuleDict(
            {
                f"{i}{j}": nn.Sequential(
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, k := int(op[-1]), padding=k // 2, bias=False),
                    nn.BatchNorm2d(channels),
                )
                for (i, j), op in self.ops.items()
                if op.startswith("nor_conv")
            }
        )

    def edge(self, i, j, x):
        op = self.ops[i, j]
        if op == "none":
            return x * 0.0
        if op == "skip_connect":
            return x
        if op == "avg_pool_3x3":
            ones = torch.ones_like(x)
            kernel = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype)
            total, count = (
                nn.functional.conv2d(v, kernel, padding=1, groups=x.shape[1]) for v in (x, ones)
            )
            return total / count
        return self.convs[f"{i}{j}"](x)

    def forward(self, x):
        values = [x]
        for j in (1, 2, 3):
            values.append(sum(self.edge(i, j, values[i]) for i in range(j)))
        return values[3]


def pair(ops, channels, seed):
    """A cell and the official one, with equal weights."""
    with streams.scoped(rng(seed)):
        ours = NASBench201Cell(ops, channels, SMALL).double()
        for parameter in ours.parameters():  # shifts too: they are what zeros become
            nn.init.normal_(parameter)
    theirs = OfficialCell(ops, channels).double()
    for (i, j), op in theirs.ops.items():
        if op.startswith("nor_conv"):
            source, target = ours.edges[f"{i}_{j}"], theirs.convs[f"{i}{j}"]
            target[1].load_state_dict(source.conv.state_dict())
            target[2].load_state_dict(source.bn.state_dict())
    return ours, theirs


def edge_cases():
    """Dead ends, zeros that meet a convolution, and cells whose output is all zeros."""
    n, s, c, k, a = "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"
    yield from ([op] * 6 for op in (n, s, c, k, a))
    yield [n, n, k, n, c, k]  # everything comes from shifts
    yield [n, s, s, n, a, s]  # zeros through parameter-free operations
    yield [k, n, n, s, n, n]  # node 1 leads nowhere
    yield [n, n, n, n, n, k]  # the output is one shift
    yield [n, n, n, n, n, s]  # the output is zero
    yield [c, k, c, n, n, n]  # nothing reaches the output


def compare(ops, seed):
    ours, theirs = pair(ops, 3, seed)
    inputs = torch.randn(2, 4, 3, 4, 5, generator=rng(seed + 1)).double()
    weight = torch.randn(4, 3, 4, 5, generator=rng(seed + 2)).double()
    gradients = []
    for cell in (ours, theirs):
        cell(inputs[1])  # moves the running statistics
        x = inputs[0].clone().requires_grad_()
        out = cell(x)
        if out.requires_grad:  # not where the output is zero
            (out * weight).sum().backward()
        gradients.append((x.grad, out.detach(), cell.eval()(inputs[1]).detach()))
    for mine, other in zip(*gradients, strict=True):
        zero = torch.zeros_like(inputs[0])
        torch.testing.assert_close(zero if mine is None else mine, zero if other is None else other)
    for (i, j), op in theirs.ops.items():
        if op.startswith("nor_conv"):
            edge, official = ours.edges[f"{i}_{j}"], theirs.convs[f"{i}{j}"]
            for p, q in zip(edge.parameters(), official.parameters(), strict=True):
                grad = torch.zeros_like(p) if p.grad is None else p.grad
                torch.testing.assert_close(grad, q.grad)


def test_cells_compute_what_the_official_ones_do():
    for seed, ops in enumerate(edge_cases()):
        compare(ops, seed)
    archs = SPACE.sample(120, rng=rng(5))
    for i in range(len(archs)):
        compare(names(archs[i : i + 1]), 100 + i)


@pytest.mark.slow
def test_every_cell_computes_what_the_official_one_does():
    archs = SPACE.enumerate()
    for i in range(len(archs)):
        compare(names(archs[i : i + 1]), i)


@pytest.mark.parametrize("ops", list(edge_cases()), ids="-".join)
def test_what_the_output_does_not_depend_on_is_not_computed(ops):
    """No convolution runs on zeros, nor for a node that leads nowhere."""
    cell, ran = NASBench201Cell(ops, 3, SMALL), set()
    for name, edge in cell.edges.items():
        edge.register_forward_hook(lambda *_, name=name: ran.add(tuple(map(int, name.split("_")))))
    cell(torch.randn(2, 3, 4, 4))
    kept = {edge for edge, op in zip(CELL_EDGES, ops, strict=True) if op != "none"}
    for i, j in ran:
        assert (i, j) in kept
        assert j == 3 or any((j, k) in kept for k in range(j + 1, 4))
        assert i == 0 or any((h, i) in kept for h in range(i))
    if ops[3] == "nor_conv_3x3":
        assert (0, 3) in ran


def kinds(module):
    return [type(leaf).__name__ for leaf in module.modules() if not list(leaf.children())]


RELU_CONV_BN = ["ReLU", "Conv2d", "BatchNorm2d"]
TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def test_structure_of_a_known_network():
    network = nasbench201_network(SPACE.parse([TEXT]), in_channels=3, num_classes=10)
    assert kinds(network.stem) == ["Conv2d", "BatchNorm2d"]
    cell = network.body[0]
    assert {name: kinds(edge) for name, edge in cell.edges.items()} == {
        "0_1": RELU_CONV_BN,
        "1_2": ["Identity"],
        "0_3": ["AvgPool2d"],
        "1_3": RELU_CONV_BN,
        "2_3": RELU_CONV_BN,
    }
    assert cell.edges["0_1"].conv.kernel_size == (3, 3)
    assert cell.edges["1_3"].conv.kernel_size == (1, 1)
    assert cell.edges["0_3"].count_include_pad is False
    cells, between = ["NASBench201Cell"] * 5, ["ResidualDownsampling"]
    body = [type(part).__name__ for part in network.body]
    assert body == [*cells, *between, *cells, *between, *cells, "BatchNorm2d", "ReLU"]
    block = network.body[5]
    assert kinds(block.conv_a) == kinds(block.conv_b) == RELU_CONV_BN
    assert block.conv_a.conv.stride == (2, 2)
    assert kinds(block.shortcut) == ["AvgPool2d", "Conv2d"]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is None for conv in convolutions)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.momentum, m.eps, m.affine) == (0.1, 1e-5, True) for m in norms)
    assert network.classifier.weight.shape == (10, 64)


def test_downsampling_adds_shortcut_and_convolutions():
    network = nasbench201_network(SPACE.parse([TEXT]), in_channels=3, num_classes=10).eval()
    block, x = network.body[5], torch.randn(2, 16, 6, 6)
    pooled = x.view(2, 16, 3, 2, 3, 2).mean(dim=(3, 5))
    shortcut = torch.einsum("bchw,dc->bdhw", pooled, block.shortcut[1].weight[:, :, 0, 0])
    expected = shortcut + block.conv_b(block.conv_a(x))
    torch.testing.assert_close(block(x), expected)
