"""Shared weights: one path at a time, and what is off the path does not matter."""

import pytest
import torch

from netwright.networks.enas import ENASSkeleton, enas_network
from netwright.networks.enas_supernet import ENASSupernet
from netwright.rng import scoped, stream
from netwright.spaces.enas import ENAS


def supernet(layers=6, channels=4):
    with scoped(stream(0, "supernet")):
        return ENASSupernet(layers, in_channels=1, num_classes=3, channels=channels)


def images(size=12, n=5):
    return torch.randn(n, 1, size, size, generator=stream(0, "images"))


@pytest.mark.parametrize("layers", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("size", [7, 8, 13])
def test_every_operation_forward_and_backward(layers, size):
    net = supernet(layers)
    touched = set()
    for op in range(6):
        skips = ";" + " ".join(["-", *("1" * layer for layer in range(1, layers))])
        (arch,) = [ENAS(layers).from_text([" ".join([str(op)] * layers) + skips])]
        net.zero_grad()
        logits = net(images(size), arch)
        assert tuple(logits.shape) == (5, 3)
        logits.square().sum().backward()
        for name, parameter in net.named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                touched.add(name)
    assert touched == {name for name, _ in net.named_parameters()}


def test_weights_off_the_path_get_no_gradient():
    net = supernet()
    arch = ENAS(6).from_text(["0 1 2 3 4 5;- 0 00 000 0000 00000"])
    net(images(), arch).sum().backward()
    names = ENAS.op_names[1:7]
    for layer, operations in enumerate(net.operations):
        for name, operation in operations.items():
            has = [p.grad is not None for p in operation.parameters()]
            assert all(has) if name == names[layer] else not any(has)


def test_each_operation_and_each_skip_counts():
    net, space = supernet().eval(), ENAS(6)
    base = space.sample(1, rng=stream(3, "arch"))
    with torch.no_grad():
        expected = net(images(), base)
        others = space.neighbours(base)
        for i in range(len(others)):
            assert not torch.allclose(net(images(), others[i : i + 1]), expected, atol=1e-6)


def test_a_chain_of_one_layer_is_what_its_parts_say():
    net = supernet(1).eval()
    with torch.no_grad():
        out = net.norms[0](net.operations[0]["conv3x3"](net.stem(images())))
        expected = net.classifier(out.mean(dim=(2, 3)))
        assert torch.allclose(net(images(), ENAS(1).from_text(["0;-"])), expected)


def test_skips_are_added_before_the_normalisation():
    net = supernet(2).eval()
    with torch.no_grad():
        stem = net.stem(images())
        one = net.norms[0](net.operations[0]["maxpool3x3"](stem))
        two = net.norms[1](net.operations[1]["sepconv5x5"](one) + stem)
        expected = net.classifier(two.mean(dim=(2, 3)))
        assert torch.allclose(net(images(), ENAS(2).from_text(["5 3;- 1"])), expected)


def test_two_reductions_at_a_third_and_two_thirds():
    net = supernet(12)
    assert list(net.reductions) == ["4", "8"]
    sizes = []
    for norm in net.norms:
        norm.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
    net(images(16), ENAS(12).sample(1, rng=stream(0, "arch")))
    assert sizes == [16] * 4 + [8] * 4 + [4] * 4


def test_a_value_that_nothing_uses_is_not_reduced():
    net, reduced = supernet(), []
    for name, module in net.reductions.items():
        module.register_forward_hook(lambda *_, name=name: reduced.append(name))
    net(images(), ENAS(6).from_text(["0 0 0 0 0 0;- 0 00 000 0000 00000"]))
    assert reduced == ["2", "4"]
    reduced.clear()
    net(images(), ENAS(6).from_text(["0 0 0 0 0 0;- 0 00 000 0000 10100"]))
    assert reduced == ["2", "2", "4", "4", "4"]  # layer 6 skips from the stem and from layer 2


def test_as_many_channels_as_in_nni_and_half_a_million_parameters():
    net = ENASSupernet(12, in_channels=3, num_classes=10)
    # Stem 24 * 27 + 48; a layer's operations: 6 of 24^2 (1x1), 24^2 * (9 + 25), and separable
    # 24 * (9 + 25) + 2 * 24^2; two reductions of 24^2 and 48; the classifier.
    layer = 6 * 576 + 576 * 34 + 24 * 34 + 2 * 576
    assert sum(p.numel() for p in net.parameters()) == 696 + 12 * layer + 2 * 624 + 250


def test_errors():
    with pytest.raises(ValueError, match="even and at least 2, not 5"):
        supernet(channels=5)
    with pytest.raises(ValueError, match="6 layers, the architecture 2"):
        supernet()(images(), ENAS(2).from_text(["0 0;- 0"]))


def test_the_path_is_that_of_the_final_network():
    arch = ENAS(6).sample(1, rng=stream(0, "arch"))
    final = enas_network(arch, in_channels=1, num_classes=3, preset=ENASSkeleton(4))
    seen = []
    net = supernet()
    for layer, operations in enumerate(net.operations):
        for name, operation in operations.items():
            operation.register_forward_hook(lambda *_, at=(layer, name): seen.append(at))
    net(images(), arch)
    names = [ENAS.op_names[op] for op in arch.ops[0, 1:7].tolist()]
    assert seen == list(enumerate(names))
    assert [list(s) for s in final.skips] == [
        [i for i in range(layer - 1) if arch.adj[0, i, layer]] for layer in range(1, 7)
    ]
