"""NAS-Bench-Graph [Qin2022]: graph neural networks of four operations in a tree.

Each of four computing nodes takes the output of one earlier node, or the raw input; those whose
output no other node takes are concatenated. That is 24 trees, each with 6,561 labellings, which
are 26,206 different networks; with the five operations for proteins, 2,021.

Two descriptions are one network if they differ in the order of nodes, or in where a ``skip`` (the
identity) stands that changes nothing. A skip changes something only where no node takes its
output, another node has the same input, and some operation on its way from the raw input is no
skip: then that operation's output is concatenated once more. All other skips change nothing, and
`simplify` lines them up at the input, in front of everything. Four of them are no network. This
is how the benchmark's own look-up has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace

#: The operations in the benchmark's order; ``fc`` is a linear layer.
OPERATIONS: Final = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
#: Those with which the data set of proteins was measured.
PROTEINS: Final = ("gcn", "sage", "arma", "fc", "skip")

_NODES: Final = 4
_ALL: Final = _NODES + 2  # with the input, node 0, and the output, node 5
#: Where each computing node takes its input, 0 being the raw input: all 24 trees.
_TREES: Final = tuple(product(*(range(node + 1) for node in range(_NODES))))


@final
class NASBenchGraph(SearchSpace):
    """The different networks of NAS-Bench-Graph: 26,206, or 2,021 for proteins.

    Node 0 is the raw input, nodes 1 to 4 compute, node 5 is the output.

    Text form: where each computing node takes its input, then its operation. The benchmark's
    ``Arch([0, 0, 1, 3], ['gcn', 'gat', 'fc', 'skip'])`` is ``0,0,1,3:gcn,gat,fc,skip``.

    Args:
        proteins: Whether to have only the five operations of the data set of proteins.

    Attributes:
        size: Number of distinct architectures.
    """

    name = "nasbenchgraph"

    def __init__(self, proteins: bool = False) -> None:
        interior = PROTEINS if proteins else OPERATIONS
        self.op_names = ("input", *interior, "output")
        self.size = 2_021 if proteins else 26_206
        self._skip = len(interior)  # the last operation but the output
        forced = torch.zeros(_ALL, _ALL, dtype=torch.bool)
        forced[0, 1] = forced[_NODES, -1] = True  # nothing is before the first, or after the last
        free = torch.ones_like(forced).triu(diagonal=1) & ~forced
        free[0, -1] = False
        allowed = torch.zeros(_ALL, len(self.op_names), dtype=torch.bool)
        allowed[0, 0] = allowed[-1, -1] = True
        allowed[1:-1, 1:-1] = True
        self.layout = Layout(
            _ALL, len(self.op_names), allowed, free, forced, max_edges=2 * _NODES, connected=True
        )

    def rules(self, archs: ArchitectureBatch) -> Mapping[str, Bool[Tensor, " batch"]]:
        """Those of the layout, and to be a tree whose skips stand where `simplify` puts them."""
        rules = self.layout.rules(archs)
        one, leaves = torch.zeros((2, len(archs)), dtype=torch.bool, device=archs.device)
        settled, computes = torch.zeros_like(one), torch.zeros_like(one)
        fits = (archs.num_nodes == _ALL).nonzero()[:, 0]
        whole = archs[fits].pad(_ALL)
        one[fits], leaves[fits] = _one_input(whole), _leaves_only(whole)
        tree = one[fits] & leaves[fits]
        settled[fits] = self._settle(whole, tree).equal(whole)
        computes[fits] = (whole.ops[:, 1:-1] != self._skip).any(dim=1)
        return {
            **rules,
            "every computing node takes one input": one,
            "what no other node takes, and only that, goes to the output": leaves,
            "skips that change nothing stand first": settled,
            "not every operation is skip": computes,
        }

    def simplify(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Line the skips that change nothing up at the input; what is no tree stays as it is."""
        fits = (archs.num_nodes == _ALL).nonzero()[:, 0]
        whole = archs[fits].pad(_ALL)
        settled = self._settle(whole, _one_input(whole) & _leaves_only(whole))
        ops, adj = archs.ops.clone(), archs.adj.clone()
        if len(fits):
            ops[fits, :_ALL], adj[fits, :_ALL, :_ALL] = settled.ops, settled.adj
        return ArchitectureBatch(ops, adj, archs.num_nodes)

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` of the distinct architectures uniformly."""
        return self._members.archs[torch.randint(self.size, (n,), generator=rng)]

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the architectures one operation or one input of a node away.

        All descriptions of the network count, with skips that change nothing wherever they may
        stand; and if ``b`` is a neighbour of ``a``, then ``a`` is one of ``b``.

        Raises:
            ValueError: If ``arch`` is not a member.
        """
        members, count = self._members, self._skip
        own = members.find(self.keys(self.simplify(arch)))
        if int(own) < 0:
            raise ValueError(f"no neighbours of a graph {self.invalid_reason(arch)}")
        found = (members.described == own).nonzero()[:, 0]
        tree, labels = found // count**_NODES, found % count**_NODES
        step = count ** torch.arange(_NODES)  # a labelling, in base `count`, has these digits
        digit = labels[:, None] // step % count
        relabelled = found[:, None, None] + (torch.arange(count) - digit[..., None]) * step[:, None]
        trees = torch.tensor(_TREES, device=found.device)
        moved = (trees[:, None] != trees).sum(dim=2) == 1  # one node takes another input
        pair, other = moved[tree].nonzero().T
        rewired = other * count**_NODES + labels[pair]
        near = members.described[torch.cat([relabelled.flatten(), rewired])].unique()
        return members.archs[near[(near >= 0) & (near != own)]]

    def enumerate(self) -> ArchitectureBatch:
        """List every architecture once: by tree, then by operations."""
        return self._members.archs

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write inputs and operations, as in ``0,0,1,3:gcn,gat,fc,skip``."""
        inputs = archs.adj[:, :_ALL, 1:-1][:, :, :_NODES].long().argmax(dim=1).tolist()
        ops = archs.ops[:, 1 : _NODES + 1].tolist()
        return [
            f"{','.join(map(str, links))}:{','.join(self.op_names[op] for op in labels)}"
            for links, labels in zip(inputs, ops, strict=True)
        ]

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text has another form, an unknown operation, or a node that takes the
                output of itself or a later one.
        """
        index = {name: op for op, name in enumerate(self.op_names) if 1 <= op <= self._skip}
        inputs, ops = [], []
        for text in texts:
            links, _, labels = text.partition(":")
            names = labels.split(",")
            if len(names) != _NODES or links.count(",") != _NODES - 1:
                raise ValueError(
                    f"{text!r} is not of the form 0,0,1,3:gcn,gat,fc,skip: for each of {_NODES} "
                    "nodes its input, then its operation"
                )
            if unknown := [name for name in names if name not in index]:
                known = ", ".join(index)
                raise ValueError(f"unknown operation {unknown[0]!r} in {text!r}: use {known}")
            for node, link in enumerate(links.split(",")):
                if link not in map(str, range(node + 1)):
                    raise ValueError(
                        f"node {node + 1} of {text!r} takes {link!r}: use a node before it, or 0, "
                        "the raw input"
                    )
            inputs.append([int(link) for link in links.split(",")])
            ops.append([index[name] for name in names])
        shape = (-1, _NODES)
        return self.trees(
            torch.tensor(inputs).long().view(shape), torch.tensor(ops).long().view(shape)
        )

    def trees(
        self, inputs: Int[Tensor, "batch 4"], ops: Int[Tensor, "batch 4"]
    ) -> ArchitectureBatch:
        """Make architectures from where each computing node takes its input, and its operation."""
        adj = torch.zeros(len(inputs), _ALL, _ALL, dtype=torch.bool, device=inputs.device)
        adj[:, :, 1:-1] = torch.nn.functional.one_hot(inputs, _ALL).bool().mT
        adj[:, 1:-1, -1] = ~adj[:, 1:-1, 1:-1].any(dim=2)
        full = torch.nn.functional.pad(ops, (1, 1))
        full[:, -1] = self._skip + 1
        return ArchitectureBatch(full, adj, torch.full_like(inputs[:, 0], _ALL))

    @property
    def _members(self) -> "_Members":
        return _members(self._skip == len(PROTEINS))

    def _settle(self, archs: ArchitectureBatch, tree: Bool[Tensor, " batch"]) -> ArchitectureBatch:
        """`simplify` trees of six nodes; others stay as they are."""
        inputs = archs.adj[:, :, 1:-1].long().argmax(dim=1)
        settled = _settled(inputs, archs.ops[:, 1:-1], self._skip)
        moved = self.trees(*settled)
        ops = torch.where(tree[:, None], moved.ops, archs.ops)
        adj = torch.where(tree[:, None, None], moved.adj, archs.adj)
        return ArchitectureBatch(ops, adj, archs.num_nodes)


def _one_input(archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    return (archs.adj[:, :, 1:-1].sum(dim=1) == 1).all(dim=1)


def _leaves_only(archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    taken = archs.adj[:, 1:-1, 1:-1].any(dim=2)
    return (archs.adj[:, 1:-1, -1] == ~taken).all(dim=1) & ~archs.adj[:, 0, -1]


def _settled(
    inputs: Int[Tensor, "batch 4"], ops: Int[Tensor, "batch 4"], skip: int
) -> tuple[Int[Tensor, "batch 4"], Int[Tensor, "batch 4"]]:
    """Move skips that change nothing to the front, one after another, until none is left.

    Such a skip hands what takes it on to its own input, and the freed node goes in front of the
    nodes that take the raw input. The other nodes keep their order.
    """
    inputs, ops = inputs.clone(), ops.clone()
    front = torch.zeros_like(inputs[:, 0])  # how many nodes are in the chain at the input
    place = torch.arange(_NODES, device=inputs.device)
    for _ in range(_NODES):
        taker = inputs[:, :, None] == place + 1  # [b, j, i]: node j takes node i
        before = torch.zeros_like(ops, dtype=torch.bool)  # only skips up to the node, itself too
        for node in range(_NODES):
            own = inputs[:, node]
            up = (own == 0) | before.gather(1, (own - 1).clamp(min=0)[:, None])[:, 0]
            before[:, node] = up & (ops[:, node] == skip)
        alone = (inputs[:, :, None] == inputs[:, None, :]).sum(dim=2) == 1
        idle = (ops == skip) & (taker.any(dim=1) | alone | before)
        idle &= place >= front[:, None]
        rows = idle.any(dim=1).nonzero()[:, 0]
        if not len(rows):
            break
        which = idle[rows].long().argmax(dim=1)[:, None]
        links = inputs[rows]
        links = torch.where(links == which + 1, links.gather(1, which), links)
        # The node's number becomes front + 1; those from there up to its own grow by one.
        start = front[rows, None]
        onto = links == start  # the raw input, or the end of the chain
        links = torch.where((links > start) & (links <= which), links + 1, links)
        links = torch.where(onto & (place != which) & (place >= start), start + 1, links)
        links.scatter_(1, which, start)
        order = torch.where((place > start) & (place <= which), place - 1, place)
        order = torch.where(place == start, which, order)
        inputs[rows], ops[rows] = links.gather(1, order), ops[rows].gather(1, order)
        front[rows] += 1
    return inputs, ops


@dataclass(frozen=True, eq=False)
class _Members:
    """The distinct architectures, and what describes them.

    Attributes:
        archs: Each once.
        known: Their keys, sorted.
        row: Which architecture each of the sorted keys is of.
        described: Which one each description is of, by tree and then by operations, the first
            node's being the lowest digit; -1 for four skips.
    """

    archs: ArchitectureBatch
    known: Int[Tensor, "known 2"]
    row: Int[Tensor, " known"]
    described: Int[Tensor, " description"]

    def find(self, key: Int[Tensor, "batch 2"]) -> Int[Tensor, " batch"]:
        """The number of the architecture that has each key, -1 where none has."""
        place = hashing.find(self.known, key)
        return torch.where(place >= 0, self.row[place], -1)


@cache
def _members(proteins: bool) -> _Members:
    space, count = NASBenchGraph(proteins), len(PROTEINS if proteins else OPERATIONS)
    labels = torch.arange(count**_NODES)[:, None] // count ** torch.arange(_NODES) % count + 1
    inputs = torch.tensor(_TREES).repeat_interleave(len(labels), dim=0)
    archs = space.simplify(space.trees(inputs, labels.repeat(len(_TREES), 1)))
    key = hashing.keys(archs)
    computes = (archs.ops[:, 1:-1] != count).any(dim=1)
    first = computes.nonzero()[:, 0]
    first = first[hashing.first_of_each(key[first])]
    known = hashing.distinct(key[first])
    row = torch.empty(len(known), dtype=torch.long)
    row[hashing.find(known, key[first])] = torch.arange(len(first))
    place = hashing.find(known, key)
    return _Members(archs[first], known, row, torch.where(place >= 0, row[place], -1))
