"""Numbers that describe a graph and do not depend on the order in which its nodes are stored.

With L the one-hot operations of the nodes (node x operation), A the adjacency matrix and R the
pairs of nodes that a path joins, in this order:

* nodes, edges, paths from input to output, their mean length and the longest one;
* of each operation, how many nodes have it, the sum and the largest of their in-degrees and of
  their out-degrees, and the sum of the products of the two;
* of each pair of operations, the edges (L' A L), the paths of two edges (L' A A L) and the pairs
  that are joined by any path (L' R L);
* of each operation, sum, sum of squares and largest of the shares of the output's width that
  its nodes have. As in NAS-Bench-101, predecessors of the output share it evenly, any other node
  is as wide as the widest of its successors; parameters and cost follow from it;
* of each operation, how many nodes have it on the path with the fewest, on that with the most,
  and on average over all paths from input to output; the same of any operation;
* how many paths from input to output read each sequence of operations, the shortest sequences
  first: the path encoding of [BANANAS] with counts in place of bits.

"Input" and "output" are the first and the last node.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.generators.base import insist_complete
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout

_PATHS: Final = 40  # sequences counted: up to three of NAS-Bench-101's operations
_CHUNK: Final = 1 << 14  # graphs at a time: the working set stays small


def invariants(archs: ArchitectureBatch, layout: Layout) -> Float[Tensor, "batch feature"]:
    """Describe graphs by the numbers in the module's description; isomorphic graphs are equal.

    Raises:
        ValueError: If one is not a complete graph of the layout.
    """
    archs = insist_complete(archs, layout)
    inner = layout.allowed_ops[1:-1].any(dim=0).nonzero()[:, 0].tolist()
    inner = [op for op in inner if op != layout.end_op]
    starts = range(0, max(len(archs), 1), _CHUNK)
    return torch.cat([_describe(archs[i : i + _CHUNK], layout.num_ops, inner) for i in starts])


def _describe(
    archs: ArchitectureBatch, num_ops: int, inner: list[int]
) -> Float[Tensor, "batch feature"]:
    adj = archs.adj.float()
    ops = nn.functional.one_hot(archs.ops, num_ops).float() * archs.node_mask[:, :, None]
    into, out = adj.sum(dim=1)[:, :, None], adj.sum(dim=2)[:, :, None]
    joined = dag.reachable(archs).float().triu(diagonal=1)
    share = _shares(archs)[:, :, None] * ops
    parts = [
        archs.num_nodes[:, None],
        archs.num_edges[:, None],
        dag.path_counts(archs)[:, None],
        dag.mean_path(archs).nan_to_num(nan=-1.0)[:, None],
        dag.longest_path(archs)[:, None],
        ops.sum(dim=1),
        (ops * into).sum(dim=1),
        (ops * into).amax(dim=1),
        (ops * out).sum(dim=1),
        (ops * out).amax(dim=1),
        (ops * into * out).sum(dim=1),
        *((ops.mT @ pairs @ ops).flatten(1) for pairs in (adj, adj @ adj, joined)),
        share.sum(dim=1),
        share.square().sum(dim=1),
        share.amax(dim=1),
        _along_paths(archs, torch.cat([ops, archs.node_mask[:, :, None]], dim=2)),
        _sequences(archs, ops[:, :, inner]),
    ]
    return torch.cat([part.float() for part in parts], dim=1)


def _output(archs: ArchitectureBatch, value: Float[Tensor, "batch node *rest"]) -> Tensor:
    """What the output node of each graph has."""
    last = (archs.num_nodes - 1).clamp(min=0)
    return value[torch.arange(len(archs), device=archs.device), last]


def _shares(archs: ArchitectureBatch) -> Float[Tensor, "batch node"]:
    """The share of the output's width that each interior node has; 0 for input and output."""
    feeds = _output(archs, archs.adj.mT.float())
    feeds[:, :1] = 0
    share = feeds / feeds.sum(dim=1, keepdim=True).clamp(min=1)
    for i in range(archs.max_nodes - 2, 0, -1):
        widest = (archs.adj[:, i] * share).amax(dim=1)
        share[:, i] = torch.where(feeds[:, i] > 0, share[:, i], widest)
    return share


def _along_paths(
    archs: ArchitectureBatch, weight: Float[Tensor, "batch node kind"]
) -> Float[Tensor, "batch feature"]:
    """Least, largest and mean sum of each weight over the paths from input to output; or -1."""
    none = torch.full_like(weight, torch.inf)
    least, most, total = none, -none, torch.zeros_like(weight)
    count = torch.zeros(weight.shape[:2], device=archs.device)
    least[:, 0] = most[:, 0] = total[:, 0] = weight[:, 0]
    count[:, 0] = 1
    for j in range(1, archs.max_nodes):
        edge, own = archs.adj[:, :j, j, None], weight[:, j]
        least[:, j] = torch.where(edge, least[:, :j], torch.inf).amin(dim=1) + own
        most[:, j] = torch.where(edge, most[:, :j], -torch.inf).amax(dim=1) + own
        count[:, j] = (edge[:, :, 0] * count[:, :j]).sum(dim=1)
        total[:, j] = (edge * total[:, :j]).sum(dim=1) + own * count[:, j, None]
    mean = _output(archs, total) / _output(archs, count)[:, None]
    found = torch.cat([_output(archs, least), _output(archs, most), mean], dim=1)
    return torch.where(found.isfinite(), found, -1.0)


def _sequences(
    archs: ArchitectureBatch, ops: Float[Tensor, "batch node inner"]
) -> Float[Tensor, "batch sequence"]:
    """How many paths read each sequence of interior operations, up to `_PATHS` sequences."""
    limit = sum(ops.shape[2] ** length for length in range(max(archs.max_nodes - 1, 0)))
    limit = min(limit, _PATHS)
    output, into = _output(archs, archs.adj.mT.float()), archs.adj.mT.float()
    # ends[b, j, s]: paths from the input whose interior nodes read s, the last of them being j
    ends = torch.zeros(len(archs), archs.max_nodes, 1, device=archs.device)
    ends[:, 0] = 1.0
    found = [torch.zeros(len(archs), 0, device=archs.device)]
    while sum(part.shape[1] for part in found) < limit:
        found.append((output[:, :, None] * ends).sum(dim=1))
        ends = ((into @ ends)[:, :, :, None] * ops[:, :, None, :]).flatten(2)
    return torch.cat(found, dim=1)[:, :limit]
