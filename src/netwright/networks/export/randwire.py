"""RandWire networks as source: fixed classes, and the wiring as numbers.

The names of weights are those in `netwright.networks.randwire`.
"""

from netwright.networks.export import layers
from netwright.networks.randwire import RandWireSkeleton

_CLASSES = '''\
def wirings(architecture: str) -> list[list[list[int]]]:
    """Return for each cell, node by node, the nodes that it takes its input from."""
    cells = []
    for cell in architecture.split(";"):
        size, _, edges = cell.partition(":")
        cells.append([[] for _ in range(int(size))])
        for edge in filter(None, edges.split(",")):
            source, target = map(int, edge.split("-"))
            cells[-1][target].append(source)
    return cells


def separable(in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    """ReLU, separable 3x3 convolution, batch normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(
            in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False
        ),
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


class Cell(nn.Module):
    """One cell; a node with several inputs takes their sum, by weights it learns."""

    def __init__(
        self, wiring: list[list[int]], inputs: int, channels: int, stride: int
    ) -> None:
        super().__init__()
        self.wiring = wiring
        used = {source for sources in wiring for source in sources}
        self.ends = [node for node in range(len(wiring)) if node not in used]
        self.nodes = nn.ModuleList(
            separable(channels, channels)
            if sources
            else separable(inputs, channels, stride)
            for sources in wiring
        )
        self.weights = nn.ParameterDict(
            {
                str(node): nn.Parameter(torch.zeros(len(sources)))
                for node, sources in enumerate(wiring)
                if len(sources) > 1
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the nodes in order; the output is the mean of those nothing follows."""
        values = []
        for node, (sources, compute) in enumerate(
            zip(self.wiring, self.nodes, strict=True)
        ):
            if not sources:
                value = x
            elif len(sources) == 1:
                value = values[sources[0]]
            else:
                weight = self.weights[str(node)].sigmoid()
                terms = zip(weight, sources, strict=True)
                value = sum(w * values[source] for w, source in terms)
            values.append(compute(value))
        return sum(values[node] for node in self.ends) / len(self.ends)
'''


def randwire_code(
    cells: int, skeleton: RandWireSkeleton, *, in_channels: int, num_classes: int
) -> str:
    """Write the network that `randwire_network` builds.

    The file has to have the architecture's text, from which the wiring is read, as its constant
    ``ARCHITECTURE``.

    Args:
        cells: 1, or as many as there are stages.
        skeleton: The sizes.
        in_channels: Channels of the images.
        num_classes: Number of logits.
    """
    init, width = ["cells = wirings(ARCHITECTURE)", "self.stem = nn.Sequential("], "in_channels"
    for i, (channels, stride) in enumerate(skeleton.stem):
        cut = "" if i else "[1:]"  # images are not cut off at zero
        init.append(f"    separable({width}, {channels}, {stride}){cut},")
        width = str(channels)
    init += [")", "self.body = nn.Sequential("]
    for stage, (widths, stride) in enumerate(zip(skeleton.stages, skeleton.strides, strict=True)):
        name = f"cells[{stage if cells > 1 else 0}]"
        for i, channels in enumerate(widths):
            init.append(f"    Cell({name}, {width}, {channels}, {1 if i else stride}),")
            width = str(channels)
    init += [
        "    nn.Sequential(",
        "        nn.ReLU(),",
        f"        nn.Conv2d({width}, {skeleton.head}, 1, bias=False),",
        f"        nn.BatchNorm2d({skeleton.head}),",
        "    ),",
        "    nn.ReLU(),",
        ")",
        f"self.classifier = nn.Linear({skeleton.head}, num_classes)",
    ]
    sizes = {"in_channels": in_channels, "num_classes": num_classes}
    network = layers.network_class(layers.STEM_AND_BODY, init, layers.FORWARD, **sizes)
    return "\n\n".join([_CLASSES, network])
