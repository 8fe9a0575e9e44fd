"""What all networks have in common: shapes, gradients, randomness, errors, and their cost."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from netwright import rng as streams
from netwright.graphs.batch import ArchitectureBatch
from netwright.networks import nasbench101, nasbench201, toy
from netwright.networks.cost import count_parameters, measure_flops
from netwright.networks.skeleton import CellNetwork, Skeleton
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

BUILDERS = {
    "nasbench101": (nasbench101.nasbench101_network, NASBench101()),
    "nasbench201": (nasbench201.nasbench201_network, NASBench201()),
    "toy": (toy.toy_network, Toy()),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def build(make, arch, seed=0, *, in_channels=1, num_classes=10, preset="small"):
    with streams.scoped(rng(seed)):
        return make(arch, in_channels=in_channels, num_classes=num_classes, preset=preset)


@pytest.fixture(params=BUILDERS, ids=str)
def kind(request):
    return BUILDERS[request.param]


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (3, 28, 28), (2, 7, 5), (1, 1, 1)]
)
@pytest.mark.parametrize("preset", ["small", Skeleton(stem_channels=6, stacks=3, cells=2)])
def test_images_of_any_size_become_logits(kind, channels, height, width, preset):
    make, space = kind
    archs = space.sample(3, rng=rng(1))
    for i in range(3):
        network = build(
            make, archs[i : i + 1], in_channels=channels, num_classes=4, preset=preset
        ).eval()
        logits = network(torch.randn(2, channels, height, width, generator=rng()))
        assert logits.shape == (2, 4)
        assert logits.isfinite().all()


def test_official_networks_run(kind):
    make, space = kind
    network = build(make, space.sample(1, rng=rng()), in_channels=3, preset="official").eval()
    assert network(torch.randn(1, 3, 8, 8)).shape == (1, 10)


def test_features_are_averaged_over_the_image():
    bare = CellNetwork(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity())
    images = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[-1.0, 0.0], [0.0, 3.0]]]])
    torch.testing.assert_close(bare(images), torch.tensor([[3.0, 0.5]]))


def test_every_parameter_learns(kind):
    """Every parameter of a cell without dead ends gets a gradient, none of them zero."""
    make, space = kind
    archs = space.sample(12, rng=rng(2))
    if isinstance(space, NASBench201):  # no `none`: there a dead end costs no time, nor learns
        archs = archs[(archs.ops != space.op_names.index("none")).all(dim=1)]
    assert len(archs)
    for i in range(len(archs)):
        network = build(make, archs[i : i + 1])
        images = torch.randn(16, 1, 8, 8, generator=rng(i))
        functional.cross_entropy(network(images), torch.arange(16) % 10).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_evaluation_is_deterministic_and_image_by_image(kind):
    make, space = kind
    network = build(make, space.sample(1, rng=rng(3)))
    images = torch.randn(5, 1, 8, 8, generator=rng())
    network(images)
    network.eval()
    assert torch.equal(network(images), network(images))
    one_by_one = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), one_by_one, atol=1e-5, rtol=1e-4)


def test_weights_come_from_the_scoped_generator_alone(kind):
    make, space = kind
    arch = space.sample(1, rng=rng(4))
    before = torch.get_rng_state()
    first, again, other = build(make, arch, 1), build(make, arch, 1), build(make, arch, 2)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(p, q) for p, q in pairs)
    convolutions = [name for name, p in first.named_parameters() if p.dim() == 4]
    state = other.state_dict()
    assert not any(torch.equal(first.state_dict()[name], state[name]) for name in convolutions)


def test_networks_learn(kind):
    """The small preset fits 60 images in a few steps."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images[:60], dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target[:60])
    make, space = kind
    best = 1.0
    archs = space.sample(2, rng=rng(5))
    for i in range(2):
        network = build(make, archs[i : i + 1])
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(60):
            optimiser.zero_grad()
            loss = functional.cross_entropy(network(images), labels)
            loss.backward()
            optimiser.step()
        wrong = (network.eval()(images).argmax(dim=1) != labels).double().mean().item()
        best = min(best, wrong)
    assert best < 0.1


def test_builders_and_networks_travel_between_processes(kind):
    make, space = kind
    assert pickle.loads(pickle.dumps(make)) is make
    network = build(make, space.sample(1, rng=rng(6)))
    images = torch.randn(4, 1, 8, 8, generator=rng())
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert torch.equal(twin(images), network(images))


# Errors.


def test_invalid_architecture_is_one_clear_error(kind):
    make, space = kind
    good = space.sample(1, rng=rng(7))
    bad = ArchitectureBatch(good.ops, torch.zeros_like(good.adj), good.num_nodes)
    with pytest.raises(ValueError, match=f"no network can be built: not in {space.name}") as error:
        build(make, bad)
    assert "\n" not in str(error.value)


def test_unpruned_cell_is_an_error():
    dangling = "input,conv1x1-bn-relu,maxpool3x3,output:0110000100000000"
    with pytest.raises(ValueError, match="path from input to output"):
        build(nasbench101.nasbench101_network, NASBench101().from_text([dangling]))


@pytest.mark.parametrize("n", [0, 2])
def test_a_network_has_one_architecture(kind, n):
    make, space = kind
    with pytest.raises(ValueError, match=f"one architecture, not {n}"):
        build(make, space.sample(2, rng=rng())[:n])


@pytest.mark.parametrize("name", ["in_channels", "num_classes"])
def test_counts_must_be_positive(kind, name):
    make, space = kind
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        build(make, space.sample(1, rng=rng()), **{name: 0})


def test_unknown_preset_names_the_known_ones(kind):
    make, space = kind
    with pytest.raises(ValueError, match="no preset 'large': use official, small or a Skeleton"):
        build(make, space.sample(1, rng=rng()), preset="large")


@pytest.mark.parametrize("name", ["stem_channels", "stacks", "cells"])
def test_skeleton_sizes_must_be_positive(name):
    sizes = {"stem_channels": 4, "stacks": 1, "cells": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        Skeleton(**sizes)


# Cost.


def test_cost_needs_no_memory(kind):
    make, space = kind
    arch = space.sample(1, rng=rng(8))
    with torch.device("meta"):
        network = make(arch, in_channels=3, num_classes=10, preset="official")
    assert all(p.is_meta for p in network.parameters())
    real = build(make, arch, in_channels=3, preset="official")
    assert count_parameters(network) == count_parameters(real)


def test_frozen_parameters_do_not_count():
    layer = torch.nn.Linear(3, 2)
    assert count_parameters(layer) == 8
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


def test_multiply_adds_by_hand():
    """Stem, one projection, classifier: 64 positions * 9 * 4, 64 * 4 * 4, 4 * 10."""
    arch = NASBench101().parse(["input,output:0100"])
    skeleton = Skeleton(stem_channels=4, stacks=1, cells=1)

    def make():
        return nasbench101.nasbench101_network(arch, in_channels=1, num_classes=10, preset=skeleton)

    assert measure_flops(make, (1, 8, 8)) == 64 * 9 * 4 + 64 * 4 * 4 + 4 * 10
    assert count_parameters(make()) == (36 + 8) + (16 + 8) + (40 + 10)


def test_multiply_adds_are_the_published_flops():
    """NAS-Bench-201's first record: 15.64737 million, ten additions of biases among them."""
    text = (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    arch = NASBench201().parse([text])

    def make():
        return nasbench201.nasbench201_network(arch, in_channels=3, num_classes=10)

    assert measure_flops(make, (3, 32, 32)) + 10 == 15_647_370


def test_multiply_adds_of_a_cell_that_passes_a_constant_on():
    """A convolution of zeros gives the shift of its normalisation: a parameter, not a result."""
    text = "|none~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
    empty = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"

    def flops(text):
        arch = NASBench201().parse([text])
        return measure_flops(
            lambda: nasbench201.nasbench201_network(
                arch, in_channels=1, num_classes=10, preset="small"
            ),
            (1, 8, 8),
        )

    assert flops(text) == flops(empty) > 0


@pytest.mark.parametrize("text", Toy().to_text(Toy().enumerate()))
def test_toy_parameters_by_hand(text):
    """A stem, a chain of 8 channels, a 1x1 convolution, a chain of 16, a classifier."""
    arch = Toy().parse([text])
    weights = {"identity": 0, "conv1x1": 1, "conv3x3": 9}
    expected = 9 * 8 + 16 + 8 * 16 + 32 + 16 * 10 + 10
    for channels in (8, 16):
        for op in text.split(","):
            kernel = weights[op]
            expected += kernel * channels**2 + (2 * channels if kernel else 0)
    assert count_parameters(build(toy.toy_network, arch)) == expected
