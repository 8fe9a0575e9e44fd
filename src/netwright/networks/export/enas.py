"""ENAS networks as source: fixed classes, and the path as names and numbers.

The names of weights are those in `netwright.networks.enas`.
"""

from collections.abc import Sequence

from netwright.networks.enas import ENASSkeleton
from netwright.networks.export import layers

_CLASSES = '''\
def convolution(
    in_channels: int, channels: int, size: int, *, separable: bool = False
) -> nn.Sequential:
    """ReLU, convolution, batch normalisation; height and width stay."""
    if separable:
        layers = [
            nn.Conv2d(
                in_channels,
                in_channels,
                size,
                padding=size // 2,
                groups=in_channels,
                bias=False,
            ),
            nn.Conv2d(in_channels, channels, 1, bias=False),
        ]
    else:
        layers = [nn.Conv2d(in_channels, channels, size, padding=size // 2, bias=False)]
    return nn.Sequential(nn.ReLU(), *layers, nn.BatchNorm2d(channels))


class Reduction(nn.Module):
    """Halve height and width: two strided 1x1 convolutions, one shifted by a pixel."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.even = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, channels - half, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of half the height and width, rounded up."""
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.bn(torch.cat([self.even(x), self.odd(shifted)], dim=1))
'''

_KINDS = {
    "conv3x3": (3, False),
    "sepconv3x3": (3, True),
    "conv5x5": (5, False),
    "sepconv5x5": (5, True),
}
_POOLS = {
    "avgpool3x3": "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)",
    "maxpool3x3": "nn.MaxPool2d(3, stride=1, padding=1)",
}


def enas_code(
    ops: Sequence[str],
    skips: Sequence[Sequence[int]],
    skeleton: ENASSkeleton,
    *,
    in_channels: int,
    num_classes: int,
) -> str:
    """Write the network that `ENASNetwork` is with the same arguments."""
    channels, third = skeleton.channels, len(ops) // 3
    operations, joins, reductions = list[str](), list[str](), list[str]()
    forward = ["x0 = self.stem(images)"]
    live = {0}
    for layer, (op, sources) in enumerate(zip(ops, skips, strict=True), start=1):
        operations += _operation(op, channels, skeleton)
        value = f"self.operations[{layer - 1}](x{layer - 1})"
        if layer > 1:
            inputs = (len(sources) + 1) * channels
            joins.append(f'"{layer}": convolution({inputs}, {channels}, 1),')
            parts = ", ".join([*(f"x{source}" for source in sources), "out"])
            forward.append(f"out = {value}")
            value = f'self.joins["{layer}"](torch.cat([{parts}], dim=1))'
        forward.append(f"x{layer} = {value}")
        live.add(layer)
        if third and layer in (third, 2 * third):
            used = {source for later in skips[layer:] for source in later}
            live = {node for node in live if node in {layer, *used}}
            for node in sorted(live):
                name = f"{layer}_{node}"
                reductions.append(f'"{name}": Reduction({channels}, {2 * channels}),')
                forward.append(f'x{node} = self.reductions["{name}"](x{node})')
            channels *= 2
    first = skeleton.channels
    init = [
        "self.stem = nn.Sequential(",
        f"    nn.Conv2d(in_channels, {first}, 3, padding=1, bias=False),",
        f"    nn.BatchNorm2d({first}),",
        ")",
        *_container("operations", "nn.ModuleList", "[]", operations),
        *_container("joins", "nn.ModuleDict", "{}", joins),
        *_container("reductions", "nn.ModuleDict", "{}", reductions),
        f"self.dropout = nn.Dropout({skeleton.dropout!r})",
        f"self.classifier = nn.Linear({channels}, num_classes)",
    ]
    forward.append(f"return self.classifier(self.dropout(x{len(ops)}.mean(dim=(2, 3))))")
    words = "Stem, layers with skip connections, global average pooling, classifier."
    sizes = {"in_channels": in_channels, "num_classes": num_classes}
    return "\n\n".join([_CLASSES, layers.network_class(words, init, forward, **sizes)])


def _operation(name: str, channels: int, skeleton: ENASSkeleton) -> list[str]:
    inner = [f"convolution({channels}, {channels}, 1),"]
    if name in _KINDS:
        size, separable = _KINDS[name]
        apart = ", separable=True" if separable and skeleton.separable else ""
        inner.append(f"convolution({channels}, {channels}, {size}{apart}),")
    else:
        inner += ["nn.ReLU(),", f"{_POOLS[name]},"]
    return ["nn.Sequential(", *(f"    {line}" for line in inner), "),"]


def _container(name: str, kind: str, brackets: str, items: Sequence[str]) -> list[str]:
    if not items:
        return [f"self.{name} = {kind}()"]
    inside = [f"    {brackets[0]}", *(f"        {item}" for item in items), f"    {brackets[1]}"]
    return [f"self.{name} = {kind}(", *inside, ")"]
