"""Convolutions with their normalisation and activation, as the benchmarks order them."""

from jaxtyping import Float
from torch import Tensor, nn

from netwright.networks.skeleton import Skeleton

# Standard deviation of a unit normal cut off at two of them; TensorFlow divides by it.
_TRUNCATED_STD = 0.87962566103423978


def conv_bn_relu(
    in_channels: int, channels: int, kernel_size: int, skeleton: Skeleton
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU: NAS-Bench-101's order.

    Height and width stay. Weights are initialised as in the official code: normal with variance
    1 / fan-in, cut off at two standard deviations (TensorFlow's variance scaling).
    """
    conv = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
    std = (in_channels * kernel_size**2) ** -0.5 / _TRUNCATED_STD
    nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
    return nn.Sequential(conv, skeleton.batch_norm(channels), nn.ReLU(inplace=True))


def relu_conv_bn(
    in_channels: int,
    channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    separable: bool = False,
) -> nn.Sequential:
    """ReLU, convolution without bias, batch normalisation, of RandWire and ENAS.

    A separable convolution is a depthwise one, which has the stride, and one of 1x1.
    """
    first = in_channels if separable else channels
    layers: list[nn.Module] = [
        nn.Conv2d(
            *(in_channels, first, kernel_size, stride, kernel_size // 2),
            groups=in_channels if separable else 1,
            bias=False,
        )
    ]
    if separable:
        layers.append(nn.Conv2d(in_channels, channels, 1, bias=False))
    return nn.Sequential(nn.ReLU(), *layers, nn.BatchNorm2d(channels))


class ReluConvBn(nn.Module):
    """ReLU, convolution without bias, batch normalisation: NAS-Bench-201's order.

    Weights keep torch's default initialisation, as in the official code.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        skeleton: Skeleton,
        *,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.bn = skeleton.batch_norm(channels)

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        """Apply the three."""
        out: Tensor = self.bn(self.conv(self.relu(x)))
        return out

    def of_zeros(
        self, like: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Return what `forward` makes of an input of zeros: the normalisation's shift.

        Stride 1 and equal channels only; nothing is convolved.
        """
        return self.bn.bias[:, None, None].expand_as(like)


class ResidualDownsampling(nn.Module):
    """NAS-Bench-201's residual block of stride 2 between two stacks.

    Odd heights and widths are rounded up; the official block accepts even ones only.
    """

    def __init__(self, in_channels: int, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.conv_a = ReluConvBn(in_channels, channels, 3, skeleton, stride=2)
        self.conv_b = ReluConvBn(channels, channels, 3, skeleton)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(in_channels, channels, 1, bias=False)
        )

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        """Halve height and width."""
        out: Tensor = self.shortcut(x) + self.conv_b(self.conv_a(x))
        return out
