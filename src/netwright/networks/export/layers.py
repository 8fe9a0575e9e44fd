"""The building blocks of exported files, as source: fixed texts with numbers filled in."""

from collections.abc import Sequence

from netwright.networks.skeleton import Skeleton


def batch_norm(channels: str, skeleton: Skeleton) -> str:
    """Return the expression of a batch normalisation."""
    return f"nn.BatchNorm2d({channels}, eps={skeleton.bn_eps!r}, momentum={skeleton.bn_momentum!r})"


def conv_bn_relu(skeleton: Skeleton) -> str:
    """Return the class of NAS-Bench-101's convolution, as `netwright.networks.layers` has it."""
    return f'''\
class ConvBnRelu(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU; height and width stay."""

    def __init__(self, in_channels: int, channels: int, size: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, size, padding=size // 2, bias=False),
            {batch_norm("channels", skeleton)},
            nn.ReLU(inplace=True),
        )
        # A normal distribution of variance 1 / fan-in, cut off at twice its spread.
        std = (in_channels * size**2) ** -0.5 / 0.87962566103423978
        nn.init.trunc_normal_(self[0].weight, std=std, a=-2 * std, b=2 * std)
'''


def relu_conv_bn(skeleton: Skeleton, *, of_zeros: bool) -> str:
    """Return the class of NAS-Bench-201's convolution, with or without its method for zeros."""
    method = '''
    def of_zeros(self, like: Tensor) -> Tensor:
        """Return what becomes of an input of zeros: the normalisation's shift."""
        return self.bn.bias[:, None, None].expand_as(like)
'''
    return f'''\
class ReluConvBn(nn.Module):
    """ReLU, convolution without bias, batch normalisation."""

    def __init__(
        self, in_channels: int, channels: int, size: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(
            in_channels, channels, size, stride, padding=size // 2, bias=False
        )
        self.bn = {batch_norm("channels", skeleton)}

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three."""
        return self.bn(self.conv(self.relu(x)))
{method if of_zeros else ""}'''


DOWNSAMPLING = '''\
class Downsampling(nn.Module):
    """Halve height and width: a residual block of two convolutions."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_a = ReluConvBn(in_channels, channels, 3, stride=2)
        self.conv_b = ReluConvBn(channels, channels, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(in_channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of half the height and width."""
        return self.shortcut(x) + self.conv_b(self.conv_a(x))
'''


def network_class(
    words: str,
    init: Sequence[str],
    forward: Sequence[str],
    *,
    in_channels: int,
    num_classes: int,
) -> str:
    """Return the class of a whole network, made without arguments.

    Args:
        words: What it is, in a sentence.
        init: Lines of ``__init__``, which may use ``in_channels`` and ``num_classes``.
        forward: Lines of the forward pass of ``images``.
        in_channels: Channels of the images.
        num_classes: Number of logits.
    """
    arguments = f"in_channels: int = {in_channels}, num_classes: int = {num_classes}"
    lines = [
        "class Network(nn.Module):",
        f'    """{words}"""',
        "",
        f"    def __init__(self, {arguments}) -> None:",
        "        super().__init__()",
        *(f"        {line}" for line in init),
        "",
        "    def forward(self, images: Tensor) -> Tensor:",
        '        """Turn images, batch x channel x height x width, into logits, batch x class."""',
        *(f"        {line}" for line in forward),
        "",
    ]
    return "\n".join(lines)


#: The forward pass of a network of a stem, a body and a classifier, and what that is.
STEM_AND_BODY = "Stem, cells, global average pooling, linear classifier."
FORWARD = (
    "features = self.body(self.stem(images))",
    "return self.classifier(features.mean(dim=(2, 3)))",
)
