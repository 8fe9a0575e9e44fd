"""Networks of the ENAS macro space: the published sizes, the arithmetic, images of any size."""

import pytest
import torch
from torch.nn import functional

from netwright import rng as streams
from netwright.networks.cost import count_parameters
from netwright.networks.enas import ENASSkeleton, FactorizedReduction, enas_network
from netwright.rng import stream
from netwright.spaces.enas import ENAS

SMALL = ENASSkeleton(4, separable=True, dropout=0.0)


def build(arch, *, in_channels=1, num_classes=10, preset="small", seed=0):
    with streams.scoped(stream(seed, "weights")):
        return enas_network(arch, in_channels=in_channels, num_classes=num_classes, preset=preset)


def millions(arch, preset):
    with torch.device("meta"):
        network = enas_network(arch, in_channels=3, num_classes=10, preset=preset)
    return count_parameters(network) / 1e6


def convolutions(n, share):
    """Architectures of 12 layers like those of a trained controller: convolutions and many skips.

    In [GraphPNAS] Fig. 6, half of the controller's samples have nearly all skips.
    """
    space, rng = ENAS(12), stream(0, "archs")
    archs = space.sample(n, rng=rng)
    inner = archs.ops[:, 1:-1]
    inner[inner > 4] -= 3
    skips = torch.rand(archs.adj.shape, generator=rng) < share
    archs.adj[:] = space.layout.forced | (space.layout.free & skips)
    return archs


def mean_size(archs, preset):
    return sum(millions(archs[i : i + 1], preset) for i in range(len(archs))) / len(archs)


def test_published_sizes():
    """[GraphPNAS] Table 3: 19.64 and 20.47, large 36.92 and 37.71 million parameters."""
    many, all_skips = convolutions(20, 0.75), convolutions(4, 1.0)
    assert mean_size(many, "official") < 20 < mean_size(all_skips, "official")
    assert mean_size(many, "official") == pytest.approx(20, rel=0.05)
    assert mean_size(many, "large") < 37 < mean_size(all_skips, "large")
    assert mean_size(many, "large") == pytest.approx(37, rel=0.07)


def test_parameters_counted_by_hand():
    """Two layers have no reduction; c = 4 channels, 10 classes, one channel in."""
    c, bn = 4, 2 * 4
    stem, head = 9 * c + bn, c * 10 + 10
    first = (c * c + bn) + (9 * c * c + bn)  # conv3x3
    second = (c * c + bn) + (25 * c + c * c + bn)  # sepconv5x5
    join = {"0": c * c + bn, "1": 2 * c * c + bn}
    for skip, extra in join.items():
        [text] = [f"0 3;- {skip}"]
        network = build(ENAS(2).parse([text]), preset=SMALL)
        assert count_parameters(network) == stem + first + second + extra + head


@pytest.mark.parametrize("op", range(6))
def test_every_operation_runs_forward_and_backward(op):
    network = build(ENAS(1).parse([f"{op};-"]), preset=SMALL)
    images = torch.randn(8, 1, 7, 5, generator=stream(0, "images"))
    functional.cross_entropy(network(images), torch.arange(8)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_skips_are_what_the_architecture_says():
    """Layer 3 reads layer 2, and joins the stem; layer 1 is joined by nothing."""
    network = build(ENAS(3).parse(["0 4 5;- 0 10"]), preset=SMALL).eval()
    images = torch.randn(2, 1, 8, 8, generator=stream(0, "images"))
    stem = network.stem(images)
    one = network.reductions["1_1"](network.operations[0](stem))
    stem = network.reductions["1_0"](stem)
    two = network.joins["2"](network.operations[1](one))
    two, stem = network.reductions["2_2"](two), network.reductions["2_0"](stem)
    three = network.joins["3"](torch.cat([stem, network.operations[2](two)], dim=1))
    torch.testing.assert_close(network(images), network.classifier(three.mean(dim=(2, 3))))
    assert set(network.reductions) == {"1_0", "1_1", "2_0", "2_2"}  # of what is still used


@pytest.mark.parametrize("layers", [1, 2, 3, 6, 12])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (2, 7, 5), (1, 1, 1)])
def test_images_of_any_size_become_logits(layers, channels, height, width):
    arch = ENAS(layers).sample(1, rng=stream(layers, "arch"))
    network = build(arch, in_channels=channels, num_classes=4).eval()
    logits = network(torch.randn(2, channels, height, width))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_every_parameter_learns():
    archs = ENAS(6).sample(3, rng=stream(0, "archs"))
    for i in range(3):
        network = build(archs[i : i + 1])
        images = torch.randn(16, 1, 8, 8, generator=stream(i, "images"))
        functional.cross_entropy(network(images), torch.arange(16) % 10).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_reduction_sees_every_pixel(size):
    reduction = FactorizedReduction(1, 2)
    images = torch.zeros(1, 1, size, size, requires_grad=True)
    half = reduction.eval()(images)  # normalised as drawn, so that the sum has a gradient
    assert half.shape == (1, 2, -(-size // 2), -(-size // 2))
    half.sum().backward()
    seen = images.grad[0, 0] != 0
    rows = torch.arange(size) % 2
    assert torch.equal(seen, rows[:, None] == rows)  # even rows and columns, and odd ones


@pytest.mark.parametrize("channels", [0, 1, 7])
def test_channels_can_be_halved(channels):
    with pytest.raises(ValueError, match="channels must be even"):
        ENASSkeleton(channels)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="no preset 'tiny': use official, large, small"):
        build(ENAS(1).parse(["0;-"]), preset="tiny")
