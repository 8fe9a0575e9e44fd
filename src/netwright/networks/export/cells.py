"""Cells as source code: an attribute per operation, and this cell's forward pass line by line.

Every name in the code comes from the closed tables below and from numbers, never from a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from netwright.networks.nasbench201 import NASBench201Cell
from netwright.networks.skeleton import Skeleton
from netwright.spaces.nasbench201 import CELL_EDGES

#: Longest line of an exported file.
LINE = 88

_AVERAGE = "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)"


@dataclass(frozen=True)
class CellCode:
    """The class of a cell.

    Attributes:
        source: Of ``class Cell``.
        attributes: From the beginnings of its weights' names, as `netwright.networks` has them,
            to the class's attributes.
    """

    source: str
    attributes: Mapping[str, str]


def nasbench101_cell(ops: Sequence[str], adj: Sequence[Sequence[bool]]) -> CellCode:
    """Write the cell that `NASBench101Cell` computes with the same arguments."""
    last = len(ops) - 1
    heads = [node for node in range(1, last) if adj[node][last]]
    share = _shares(adj, heads)

    def width(node: int) -> str:
        return f"split[{share[node]}]" if len(heads) > 1 else "channels"

    kinds = {"conv1x1-bn-relu": "conv1x1", "conv3x3-bn-relu": "conv3x3", "maxpool3x3": "maxpool"}
    operation = {node: f"{kinds[ops[node]]}_{node}" for node in range(1, last)}
    projection = {
        node: f"project_{'output' if node == last else node}"
        for node in range(1, last + 1)
        if adj[0][node]
    }
    init, forward, cut = [], [], False
    for node in range(1, last):
        terms = []
        for source in range(1, node):
            if adj[source][node]:
                wider = share[source] < share[node]
                cut |= wider
                terms.append(f"node{source}[:, : self.{width(node)}]" if wider else f"node{source}")
        if node in projection:
            init.append(f"self.{projection[node]} = ConvBnRelu(in_channels, {width(node)}, 1)")
            terms.append(f"self.{projection[node]}(x)")
        init.append(f"self.{operation[node]} = {_operation101(ops[node], width(node))}")
        forward += summed(f"node{node} = self.{operation[node]}(", terms, ")")
    if last in projection:
        init.append(f"self.{projection[last]} = ConvBnRelu(in_channels, channels, 1)")
    if len(heads) > 1:
        nodes = ", ".join(str(node) for node in heads[:-1]) + f" and {heads[-1]}"
        init[:0] = [
            f"# Nodes {nodes} make up the output: they share its channels, and the",
            "# first ones get what does not divide evenly.",
            f"split = {'self.split = ' * cut}[channels // {len(heads)} + "
            f"(i < channels % {len(heads)}) for i in range({len(heads)})]",
        ]
    parts = [f"node{node}" for node in heads]
    if len(heads) > 1:
        parts = [f"torch.cat([{', '.join(parts)}], dim=1)"]
        if last in projection:
            forward.append(f"joined = {parts[0]}")
            parts = ["joined"]
    if last in projection:
        parts.append(f"self.{projection[last]}(x)")
    forward += summed("return ", parts, "")
    if cut:
        forward.insert(0, "# A node may have one channel more than its successor: it is cut off.")
    edges = sum(map(sum, adj))
    words = f"One cell, of {last + 1} nodes and {edges} edge{'s' * (edges > 1)}"
    arguments = "in_channels: int, channels: int"
    code = _cell(f"{words}: height and width stay.", arguments, init, forward)
    names = {f"operations.{node}": name for node, name in operation.items()}
    return CellCode(code, names | {f"projections.{n}": name for n, name in projection.items()})


def _shares(adj: Sequence[Sequence[bool]], heads: Sequence[int]) -> dict[int, int]:
    """Tell each interior node which part of the output it is as wide as.

    Widths fall from part to part, so that of its successors a node follows the first part.
    """
    last = len(adj) - 1
    share = {node: rank for rank, node in enumerate(heads)}
    for node in range(last - 1, 0, -1):
        if node not in share:
            share[node] = min(share[to] for to in range(node + 1, last) if adj[node][to])
    return share


def _operation101(name: str, channels: str) -> str:
    return {
        "maxpool3x3": "nn.MaxPool2d(3, stride=1, padding=1)",
        "conv1x1-bn-relu": f"ConvBnRelu({channels}, {channels}, 1)",
        "conv3x3-bn-relu": f"ConvBnRelu({channels}, {channels}, 3)",
    }[name]


def nasbench201_cell(ops: Sequence[str]) -> CellCode:
    """Write the cell that `NASBench201Cell` computes with the same operations.

    Operations on which the output does not depend stay if they have weights, so that the network
    has the parameters that the benchmark counts.
    """
    with torch.device("meta"):
        live = set(NASBench201Cell(ops, 1, Skeleton(1, 1, 1)).live)
    kinds = {"nor_conv_1x1": "conv1x1", "nor_conv_3x3": "conv3x3", "avg_pool_3x3": "pool"}
    attributes, init, forward = dict[str, str](), list[str](), list[str]()
    values = {0: "x"}  # what the nodes are called; those that are zeros are missing
    for target in (1, 2, 3):
        terms = []
        for (source, end), op in zip(CELL_EDGES, ops, strict=True):
            if end != target or op == "none":
                continue
            used, value = (source, target) in live, values.get(source)
            name = f"{kinds.get(op)}_{source}{target}"
            if op.startswith("nor_conv"):
                attributes[f"edges.{source}_{target}"] = name
                size = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[op]
                remark = "" if used else "  # not used"
                init.append(f"self.{name} = ReluConvBn(channels, channels, {size}){remark}")
                if used:
                    terms.append(f"self.{name}({value})" if value else f"self.{name}.of_zeros(x)")
            elif used and value:
                terms.append(value if op == "skip_connect" else f"self.{name}({value})")
                if op == "avg_pool_3x3":
                    init.append(f"self.{name} = {_AVERAGE}")
        if terms:
            values[target] = f"node{target}"
            forward += summed("return " if target == 3 else f"node{target} = ", terms, "")
    if 3 not in values:
        forward.append("return torch.zeros_like(x)")
    words = "One cell: height, width and channels stay."
    if any(line.endswith("# not used") for line in init):
        words += (
            "\n\n    What is not used has parameters in the benchmark, and changes no output.\n    "
        )
    return CellCode(_cell(words, "channels: int", init, forward), attributes)


def toy_cell(ops: Sequence[str]) -> CellCode:
    """Write a chain of the toy space."""
    attributes, init, forward = dict[str, str](), list[str](), list[str]()
    for place, op in enumerate(ops):
        if op != "identity":
            name = attributes[str(place)] = f"{op}_{place + 1}"
            size = {"conv1x1": 1, "conv3x3": 3}[op]
            init.append(f"self.{name} = ConvBnRelu(channels, channels, {size})")
            forward.append(f"x = self.{name}(x)")
    words = "One cell, a chain of operations: height, width and channels stay."
    return CellCode(_cell(words, "channels: int", init, [*forward, "return x"]), attributes)


def summed(head: str, terms: Sequence[str], tail: str) -> list[str]:
    """Write ``head``, the sum of the terms and ``tail`` as lines of a method that are not long."""
    line = f"{head}{' + '.join(terms)}{tail}"
    if len(line) <= LINE - 8:
        return [line]
    head, tail = (head, tail) if tail else (f"{head}(", ")")
    inner = f"    {' + '.join(terms)}"
    if len(inner) <= LINE - 8:
        return [head, inner, tail]
    return [head, f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), tail]


def _cell(words: str, arguments: str, init: Sequence[str], forward: Sequence[str]) -> str:
    lines = [
        "class Cell(nn.Module):",
        f'    """{words}"""',
        "",
        f"    def __init__(self, {arguments}) -> None:",
        "        super().__init__()",
        *(f"        {line}" for line in init),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Compute the nodes in order."""',
        *(f"        {line}" for line in forward),
        "",
    ]
    return "\n".join(lines)
