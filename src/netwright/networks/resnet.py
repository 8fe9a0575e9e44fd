"""ResNet-18 [He2016], the yardstick that [GraphPNAS] table 2 has beside what it found."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch

#: Blocks of each of the four stages.
_BLOCKS = (2, 2, 2, 2)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and what came in added to what comes out."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        """Return the sum, cut off at zero."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        total: Tensor = self.relu(out + self.shortcut(x))
        return total


class ResNet18(nn.Module):
    """ResNet-18, of any width.

    Weights are drawn from torch's global generator: make it inside `netwright.rng.scoped`.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of logits.
        width: Channels of the first stage; they double from stage to stage.
        large_images: Whether a 7x7 convolution and a pooling quarter height and width first, as
            for images of 224 x 224; else a 3x3 convolution keeps them.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, width: int = 64, large_images: bool = True
    ) -> None:
        super().__init__()
        if min(in_channels, num_classes, width) < 1:
            raise ValueError(f"sizes must be at least 1: {in_channels=}, {num_classes=}, {width=}")
        if large_images:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, width, 7, 2, 3, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(3, 2, 1),
            )
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
        self.body, inputs = nn.Sequential(), width
        for stage, blocks in enumerate(_BLOCKS):
            channels = width << stage
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                self.body.append(BasicBlock(inputs, channels, stride))
                inputs = channels
        self.classifier = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Return the logits."""
        features: Tensor = self.body(self.stem(images))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class ResNetSkeleton:
    """The size of a `ResNet18`; see there."""

    width: int
    large_images: bool


def resnet_network(
    arch: ArchitectureBatch, *, in_channels: int, num_classes: int, preset: ResNetSkeleton
) -> nn.Module:
    """Build a `ResNet18`, whatever the architecture."""
    del arch
    return ResNet18(
        in_channels=in_channels,
        num_classes=num_classes,
        width=preset.width,
        large_images=preset.large_images,
    )
