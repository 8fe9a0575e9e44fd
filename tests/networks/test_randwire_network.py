"""Networks of RandWire cells: the published sizes, the arithmetic, and images of any size."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from netwright import rng as streams
from netwright.graphs.random import watts_strogatz
from netwright.networks.cost import count_parameters
from netwright.networks.randwire import RandWireCell, RandWireSkeleton, randwire_network
from netwright.rng import stream
from netwright.spaces.randwire import RandWire

SPACE = RandWire()
COMPLETE = SPACE.joined(torch.ones(1, 1, 32, 32).triu(diagonal=1).bool())


def build(arch, *, in_channels=1, num_classes=10, preset="small", seed=0):
    with streams.scoped(stream(seed, "weights")):
        return randwire_network(
            arch, in_channels=in_channels, num_classes=num_classes, preset=preset
        )


def millions(arch, preset="official"):
    with torch.device("meta"):
        network = randwire_network(arch, in_channels=3, num_classes=200, preset=preset)
    return count_parameters(network) / 1e6


class TestPublishedSizes:
    """[GraphPNAS] Table 2: the networks for Tiny-ImageNet, 200 classes."""

    WS = SPACE.joined(watts_strogatz(20, 32, 4, 0.75, rng=stream(0, "ws"))[:, None])

    def test_fully_connected(self):
        assert millions(COMPLETE) == pytest.approx(3.49, rel=0.02)

    def test_sparse(self):
        sizes = [millions(self.WS[i : i + 1]) for i in range(20)]
        assert sum(sizes) / 20 == pytest.approx(3.25, rel=0.02)  # 3.22 to 3.32
        assert len(set(sizes)) > 1

    def test_large(self):
        sizes = [millions(self.WS[i : i + 1], "large") for i in range(5)]
        assert sum(sizes) / 5 == pytest.approx(19.4, rel=0.03)  # 19.18 to 19.78


def expected(cell, adj, x):
    """What a cell computes, node by node, as the definition says."""
    size, values = len(adj), []
    for j in range(size):
        sources = [i for i in range(j) if adj[i][j]]
        if not sources:
            value = x
        elif len(sources) == 1:
            value = values[sources[0]]
        else:
            weight = cell.weights[str(j)].sigmoid()
            value = sum(weight[k] * values[i] for k, i in enumerate(sources))
        values.append(cell.nodes[j](value))
    ends = [values[i] for i in range(size) if not any(adj[i])]
    return torch.stack(ends).mean(dim=0)


@pytest.mark.parametrize("text", ["5:0-1,0-4,1-4,2-4,2-3", "3:", "4:0-1,0-2,0-3,1-2,1-3,2-3", "1:"])
def test_a_cell_computes_what_its_graph_says(text):
    nodes = int(text.partition(":")[0])
    adj = RandWire(nodes).parse([text]).adj[0].tolist()
    with streams.scoped(stream(0, "weights")):
        cell = RandWireCell(adj, 3, 6, stride=2)
        for weight in cell.weights.values():
            nn.init.normal_(weight)
    x = torch.randn(2, 3, 7, 6, generator=stream(0, "x"))
    found = cell.train()(x)
    assert found.shape == (2, 6, 4, 3)
    torch.testing.assert_close(found, expected(cell, adj, x))


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (3, 28, 28), (2, 7, 5), (1, 1, 1)]
)
@pytest.mark.parametrize("preset", ["small", "official"])
def test_images_of_any_size_become_logits(channels, height, width, preset):
    arch = RandWire(6).sample(1, rng=stream(0, "arch"))
    network = build(arch, in_channels=channels, num_classes=4, preset=preset).eval()
    logits = network(torch.randn(2, channels, height, width))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_height_and_width_are_those_of_the_table():
    network = build(RandWire(2).parse(["2:0-1"]), in_channels=3, preset="official").eval()
    x, sizes = network.stem(torch.zeros(1, 3, 224, 224)), []
    for layer in network.body:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes[:3] == [(64, 28, 28), (128, 14, 14), (256, 7, 7)]
    assert sizes[-1] == (1280, 7, 7)


def test_every_parameter_learns():
    archs = RandWire(7).sample(4, rng=stream(0, "archs"))
    for i in range(4):
        network = build(archs[i : i + 1])
        images = torch.randn(16, 1, 8, 8, generator=stream(i, "images"))
        functional.cross_entropy(network(images), torch.arange(16) % 10).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_a_cell_for_each_stage():
    space = RandWire(3, cells=3)
    network = build(space.parse(["3:0-1;3:0-2,1-2;3:"]))
    cells = [layer for layer in network.body if isinstance(layer, RandWireCell)]
    assert [cell.ends for cell in cells] == [[1, 2], [2], [0, 1, 2]]
    shared = build(RandWire(3).parse(["3:0-1"]))
    assert [c.ends for c in shared.body if isinstance(c, RandWireCell)] == [[1, 2]] * 3


def test_images_have_no_relu_before_their_first_convolution():
    network = build(RandWire(2).parse(["2:0-1"])).eval()
    x = torch.randn(2, 1, 8, 8, generator=stream(0, "x"))
    assert not torch.allclose(network(x), network(x.relu()))


@pytest.mark.parametrize(
    ("arch", "preset", "message"),
    [
        (RandWire(3, cells=2).parse(["3:0-1;3:"]), "small", "2 cells for 3 stages"),
        (RandWire(3).parse(["3:0-1"]), "tiny", "no preset 'tiny': use official, large, small"),
        (RandWire(3).parse(["3:", "3:0-1"]), "small", "a network has one architecture, not 2"),
    ],
)
def test_what_cannot_be_built(arch, preset, message):
    with pytest.raises(ValueError, match=message):
        build(arch, preset=preset)


@pytest.mark.parametrize(
    ("stem", "stages", "strides", "head"),
    [
        (((16, 1),), ((16,),), (1, 2), 8),
        ((), ((16,),), (1,), 8),
        (((16, 0),), ((16,),), (1,), 8),
        (((16, 1),), ((16,),), (1,), 0),
    ],
)
def test_skeletons_that_make_no_network(stem, stages, strides, head):
    with pytest.raises(ValueError, match=r"at least 1|a stride for each stage"):
        RandWireSkeleton(stem, stages, strides, head)
