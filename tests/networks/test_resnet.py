import pytest
import torch

from netwright.networks.cost import count_parameters
from netwright.networks.resnet import BasicBlock, ResNet18
from netwright.rng import scoped, stream


def made(**options):
    with scoped(stream(0, "weights")):
        return ResNet18(**({"in_channels": 3, "num_classes": 10} | options))


def test_the_published_numbers_of_parameters():
    """11.69 million with 1000 classes [He2016], 11.17 for CIFAR-10 with a 3x3 stem."""
    assert count_parameters(made(num_classes=1000)) == 11_689_512
    assert count_parameters(made(large_images=False)) == 11_173_962
    assert round(count_parameters(made(num_classes=200)) / 1e6, 2) == 11.28


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("size", [9, 16, 33])
def test_forward_and_backward_at_any_size(large, size):
    net = made(width=4, large_images=large, in_channels=1, num_classes=3)
    images = torch.randn(4, 1, size, size, generator=stream(0, "images"))
    logits = net(images)
    assert tuple(logits.shape) == (4, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad.any() for p in net.parameters())


def test_height_and_width_of_the_stages():
    sizes = []
    for large, expected in ((True, [56, 28, 14, 7]), (False, [32, 16, 8, 4])):
        net, sizes = made(width=2, large_images=large).eval(), []
        for block in list(net.body)[1::2]:
            block.register_forward_hook(lambda _m, _i, out, to=sizes: to.append(out.shape[-1]))
        with torch.no_grad():
            net(torch.zeros(1, 3, *(224, 224) if large else (32, 32)))
        assert sizes == expected


def test_a_block_adds_what_came_in():
    block = BasicBlock(3, 3, 1).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 3, 5, 5, generator=stream(0, "x"))
    assert torch.equal(block(x), x.relu())


def test_bad_sizes():
    with pytest.raises(ValueError, match="at least 1"):
        made(width=0)
