"""What a search space is: a set of architectures and the edits between them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout


class SearchSpace(ABC):
    """A set of operation-labelled DAGs.

    A space says which graphs belong to it. How good they are is an evaluator's business, how
    they become a network is `netwright.networks`', and how to explore them is a searcher's.

    Attributes:
        name: What users call it.
        op_names: Name of each operation; the index is its value in `ArchitectureBatch.ops`.
        layout: What generators may know.
    """

    name: str
    op_names: tuple[str, ...]
    layout: Layout

    @abstractmethod
    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` valid architectures from the space's reference distribution."""

    @abstractmethod
    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List every valid architecture one edit away from the single one given, each once."""

    @abstractmethod
    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write architectures in the space's native notation."""

    @abstractmethod
    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text cannot be read; validity is not checked.
        """

    def rules(self, archs: ArchitectureBatch) -> Mapping[str, Bool[Tensor, " batch"]]:
        """What members must satisfy, as words, with the graphs that do; the layout's by default."""
        return self.layout.rules(archs)

    def simplify(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Remove what does not change the network; nothing by default."""
        return archs

    @final
    def is_valid(self, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
        """Tell which graphs are members of the space."""
        everything = torch.ones(len(archs), dtype=torch.bool, device=archs.device)
        return reduce(torch.logical_and, self.rules(archs).values(), everything)

    @final
    def invalid_reason(self, arch: ArchitectureBatch) -> str | None:
        """Return the first rule that the single architecture breaks, or None."""
        broken = (rule for rule, ok in self.rules(arch).items() if not bool(ok[0]))
        return next((f"not in {self.name}; rule broken: {rule}" for rule in broken), None)

    def with_ends(self, archs: ArchitectureBatch) -> tuple[ArchitectureBatch, tuple[str, ...]]:
        """Return the graphs as people see them, and the names of their operations.

        A space that implies nodes, such as an input and an output, adds them here. Drawings and
        statistics of paths are of these.
        """
        return archs, tuple(self.op_names)

    @final
    def keys(self, archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
        """Return a 128-bit key per architecture, equal for isomorphic ones."""
        return hashing.keys(archs)

    @final
    def parse(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read texts, simplify, and insist on validity.

        Raises:
            ValueError: If a text cannot be read or is not a member, with the reason.
        """
        archs = self.simplify(self.from_text(texts))
        for i in (~self.is_valid(archs)).nonzero()[:, 0].tolist():
            raise ValueError(f"{texts[i]!r} is {self.invalid_reason(archs[i : i + 1])}")
        return archs


@runtime_checkable
class Enumerable(Protocol):
    """A space small enough to list."""

    @property
    def size(self) -> int:
        """Number of distinct architectures."""
        ...

    def enumerate(self) -> ArchitectureBatch:
        """List every distinct architecture once, in an order that never changes."""
        ...


def one_edit(arch: ArchitectureBatch, layout: Layout) -> ArchitectureBatch:
    """List the graphs that differ from ``arch`` in one operation or one free edge.

    Node count and the order of nodes stay; validity is not checked.
    """
    n = int(arch.num_nodes[0])
    arch = arch.pad(layout.max_nodes)
    inside = torch.zeros(layout.max_nodes, dtype=torch.bool)
    inside[:n] = True
    choices = layout.allowed_ops & inside[:, None]
    choices = choices & ~torch.nn.functional.one_hot(arch.ops[0], layout.num_ops).bool()
    nodes, ops = choices.nonzero().T
    relabelled = arch[torch.zeros(len(nodes), dtype=torch.long)]
    relabelled.ops[torch.arange(len(nodes)), nodes] = ops
    sources, targets = (layout.free & inside[:, None] & inside).nonzero().T
    rewired = arch[torch.zeros(len(sources), dtype=torch.long)]
    edge = (torch.arange(len(sources)), sources, targets)
    rewired.adj[edge] = ~rewired.adj[edge]
    return ArchitectureBatch.cat([relabelled, rewired])


def distinct_members(
    space: SearchSpace, archs: ArchitectureBatch, *, but: ArchitectureBatch | None = None
) -> ArchitectureBatch:
    """Simplify graphs and keep the members of the space, each once, and those in ``but`` never."""
    archs = space.simplify(archs)
    archs = archs[space.is_valid(archs)]
    key = space.keys(archs)
    known = space.keys(but) if but is not None else key[:0]
    first = hashing.first_of_each(torch.cat([known, key]))
    return archs[first[first >= len(known)] - len(known)]


def rejection_sample(
    space: SearchSpace,
    n: int,
    draw: Callable[[int], ArchitectureBatch],
) -> ArchitectureBatch:
    """Draw graphs until ``n`` of them, simplified, are members of the space.

    Raises:
        RuntimeError: If hardly any graph is.
    """
    kept, missing, drawn = list[ArchitectureBatch](), n, 0
    while missing > 0:
        archs = space.simplify(draw(2 * missing + 16))
        drawn += len(archs)
        kept.append(archs[space.is_valid(archs)][:missing])
        missing -= len(kept[-1])
        if missing and drawn > 10_000 * (n - missing + 1):
            raise RuntimeError(
                f"{n - missing} of {drawn} random graphs are in {space.name}: too few"
            )
    return ArchitectureBatch.cat(kept or [ArchitectureBatch.empty(space.layout.max_nodes)])


def uniform_graphs(layout: Layout, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
    """Draw graphs of a layout: every allowed operation and every free edge with equal chance."""
    weight = layout.allowed_ops.float()
    ops = torch.multinomial(weight, n, replacement=True, generator=rng).T.contiguous()
    edges = torch.rand(n, layout.max_nodes, layout.max_nodes, generator=rng) < 0.5
    size = torch.full((n,), layout.max_nodes)
    if layout.end_op is not None:
        ends = ops == layout.end_op
        size = torch.where(ends.any(dim=1), ends.long().argmax(dim=1) + 1, size)
    return ArchitectureBatch.masked(ops, edges & layout.free | layout.forced, size)


def graph_text(archs: ArchitectureBatch, op_names: Sequence[str]) -> list[str]:
    """Write graphs as ``op,op,...:bits``, the bits being the row-major adjacency matrix.

    This is NAS-Bench-101's own notation on one line.
    """
    size = archs.max_nodes
    labels, sizes = archs.ops.tolist(), archs.num_nodes.tolist()
    digits = (archs.adj.flatten(1).to(torch.uint8) + ord("0")).cpu().numpy().tobytes().decode()
    lines = []
    for b, (ops, n) in enumerate(zip(labels, sizes, strict=True)):
        rows = range(b * size**2, b * size**2 + n * size, size)
        bits = "".join([digits[row : row + n] for row in rows])
        lines.append(f"{','.join([op_names[op] for op in ops[:n]])}:{bits}")
    return lines


def parse_graph_text(
    texts: Sequence[str], op_names: Sequence[str], max_nodes: int
) -> ArchitectureBatch:
    """Read what `graph_text` writes.

    Raises:
        ValueError: On an unknown operation, too many nodes, or an adjacency matrix that is not
            square, not binary or not upper triangular (a cycle).
    """
    index = {name: i for i, name in enumerate(op_names)}
    ops, sizes, digits = [], [], []
    for text in texts:
        labels, _, bits = text.strip().partition(":")
        names = labels.split(",")
        n = len(names)
        if unknown := [name for name in names if name not in index]:
            raise ValueError(
                f"unknown operation {unknown[0]!r} in {text!r}: use {', '.join(index)}"
            )
        if n > max_nodes:
            raise ValueError(f"{n} nodes in {text!r}: at most {max_nodes}")
        if len(bits) != n * n or bits.strip("01"):
            raise ValueError(f"{text!r} needs {n} x {n} adjacency bits after the colon")
        gap = "0" * (max_nodes - n)
        digits += [bits[row : row + n] + gap for row in range(0, n * n, n)]
        digits.append("0" * max_nodes * len(gap))
        ops.append([index[name] for name in names] + [0] * len(gap))
        sizes.append(n)
    raw = torch.frombuffer(bytearray("".join(digits).encode() or b"0"), dtype=torch.uint8)
    adj = raw[: len(ops) * max_nodes**2].view(-1, max_nodes, max_nodes) == ord("1")
    for i in adj.tril().flatten(1).any(dim=1).nonzero()[:, 0].tolist():
        raise ValueError(f"{texts[i]!r} is not upper triangular: an edge runs back (a cycle)")
    labels_of = torch.tensor(ops, dtype=torch.long).view(-1, max_nodes)
    return ArchitectureBatch(labels_of, adj, torch.tensor(sizes, dtype=torch.long))
