"""The shared weights of the ENAS macro space: every architecture is a path through them.

As in the implementation that [GraphPNAS] appendix D uses (NNI 1.6): each layer has all six
operations, one of which an architecture goes through; what it skips from is added, where the final
network (`netwright.networks.enas`) joins by a 1x1 convolution; and two factorized reductions, each
shared by all values of their place, halve height and width. The channels stay the same.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.enas import FactorizedReduction, path_of
from netwright.spaces.enas import ENAS

#: Channels of the supernet in [Pham2018]'s code and NNI.
CHANNELS = 24


class ENASSupernet(nn.Module):
    """Weights for all architectures of ``layers`` layers.

    Weights are drawn from torch's global generator: make it inside `netwright.rng.scoped`.

    Args:
        layers: Number of layers of the space.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        channels: Of every layer; even.

    Raises:
        ValueError: If ``channels`` is odd or below 2.
    """

    def __init__(
        self, layers: int, *, in_channels: int, num_classes: int, channels: int = CHANNELS
    ) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(f"channels must be even and at least 2, not {channels}")
        self.space = ENAS(layers)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        names = ENAS.op_names[1:-1]
        self.operations = nn.ModuleList(
            nn.ModuleDict({name: _operation(name, channels) for name in names})
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for _ in range(layers))
        third = layers // 3
        self.reductions = nn.ModuleDict(
            {
                str(layer): FactorizedReduction(channels, channels)
                for layer in ((third, 2 * third) if third else ())
            }
        )
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[Tensor, "batch channel height width"], arch: ArchitectureBatch
    ) -> Float[Tensor, "batch class"]:
        """Return the logits along the path of a single architecture."""
        ops, skips = path_of(arch)
        if len(ops) != len(self.operations):
            raise ValueError(
                f"the supernet has {len(self.operations)} layers, the architecture {len(ops)}"
            )
        values: list[Tensor] = [self.stem(images)]
        for layer, (op, sources) in enumerate(zip(ops, skips, strict=True), start=1):
            out: Tensor = self.operations[layer - 1][op](values[-1])  # type: ignore[index]
            for source in sources:
                out = out + values[source]
            values.append(self.norms[layer - 1](out))
            if str(layer) in self.reductions:
                values = self._reduced(str(layer), values, skips[layer:])
        logits: Tensor = self.classifier(values[-1].mean(dim=(2, 3)))
        return logits

    def _reduced(
        self, place: str, values: Sequence[Tensor], later: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """Halve what is used later on; the rest stays as it is."""
        used = {len(values) - 1, *(source for sources in later for source in sources)}
        reduce = self.reductions[place]
        return [reduce(value) if i in used else value for i, value in enumerate(values)]


def _operation(name: str, channels: int) -> nn.Module:
    first = nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
        nn.ReLU(),
    )
    last = nn.BatchNorm2d(channels, affine=False)
    if name == "avgpool3x3":
        return first.append(nn.AvgPool2d(3, 1, 1, count_include_pad=False)).append(last)
    if name == "maxpool3x3":
        return first.append(nn.MaxPool2d(3, 1, 1)).append(last)
    size = int(name[-1])
    if name.startswith("sep"):
        first.append(
            nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False)
        )
        first.append(nn.Conv2d(channels, channels, 1, bias=False))
    else:
        first.append(nn.Conv2d(channels, channels, size, padding=size // 2, bias=False))
    return first.append(last).append(nn.ReLU())
