r"""Larger graphs from a given one: one more node behind the last, or before the first.

[SVGe] section IV-E, as in the code released with it. Of a graph of n nodes and k operations to
choose from there are $k \, 2^{n-1}$ of either kind.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch


def appended(arch: ArchitectureBatch, ops: Sequence[int]) -> ArchitectureBatch:
    """List the graphs with a new last node, which takes over the operation of the old one.

    The old last node becomes one of the operations given and feeds the new one; any other nodes
    may feed it too. If every node was on a path from first to last, so is every node of the
    results.

    Args:
        arch: A single graph of n nodes.
        ops: What the old last node may become.

    Returns:
        ``len(ops) * 2 ** (n - 1)`` graphs of n + 1 nodes: operation by operation, and for each all
        subsets of the nodes before the old last one, the empty one first.

    Raises:
        ValueError: If there is not one graph of two nodes at least.
    """
    if len(arch) != 1 or int(arch.num_nodes[0]) < 2:
        raise ValueError("give one graph at a time, of at least two nodes")
    n = int(arch.num_nodes[0])
    arch = arch.pad(n)
    subsets = _subsets(n - 1)
    count = len(ops) * len(subsets)
    grown = arch.pad(n + 1)
    adj = grown.adj.repeat(count, 1, 1)
    adj[:, : n - 1, n] = subsets.repeat(len(ops), 1)
    adj[:, n - 1, n] = True
    labels = grown.ops.repeat(count, 1)
    labels[:, n] = arch.ops[0, n - 1]
    labels[:, n - 1] = torch.tensor(ops, dtype=labels.dtype).repeat_interleave(len(subsets))
    return ArchitectureBatch(labels, adj, torch.full((count,), n + 1))


def prepended(arch: ArchitectureBatch, ops: Sequence[int]) -> ArchitectureBatch:
    """List the graphs with a new first node: the mirror image of `appended`.

    The old first node becomes one of the operations given and is fed by the new one, which may
    feed any other nodes too.

    Raises:
        ValueError: As `appended`.
    """
    return dag.reverse(appended(dag.reverse(arch), ops))


def _subsets(n: int) -> Tensor:
    """Return all subsets of n things as rows of booleans, the empty one first."""
    return ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).bool()
