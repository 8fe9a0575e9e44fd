"""Fixed-length binary features of architectures.

Deviation from the reference code of [BANANAS]: within one path length, operation sequences are in
lexicographic order, the node nearest to the input first (the reference counts it as the lowest
digit). A truncation after a whole length, such as the published 40 = 1 + 3 + 9 + 27 bits, is the
same set of features.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch


def path_encoding(
    archs: ArchitectureBatch,
    ops: Sequence[int],
    *,
    max_length: int | None = None,
    truncate: int | None = None,
) -> Bool[Tensor, "batch path"]:
    """Tell which operation sequences occur along a path from input to output [BANANAS].

    There is one bit for each sequence of 0, 1, ..., ``max_length`` interior operations, shortest
    first: 364 = 1 + 3 + 9 + 27 + 81 + 243 for NAS-Bench-101. Input and output are the first and
    the last node of a graph.

    Args:
        archs: The graphs.
        ops: The operations that interior nodes may have; a path through any other has no bit.
        max_length: Longest sequence; by default as long as the padded size allows.
        truncate: Keep only so many bits, the shortest paths; published: 40.
    """
    longest = max(archs.max_nodes - 2, 0) if max_length is None else max_length
    limit = sum(len(ops) ** length for length in range(longest + 1))
    limit = limit if truncate is None else min(limit, truncate)
    index = (archs.num_nodes - 1).clamp(min=0)[:, None, None]
    output = archs.adj.gather(2, index.expand(-1, archs.max_nodes, 1))[:, :, 0].float()
    into = archs.adj.mT.float()
    label = torch.stack([archs.ops == op for op in ops], dim=2).float()
    # ends[b, j, s]: a path from the input whose interior nodes read s, the last of them being j
    # (before the first step: the input itself, which reads nothing)
    ends = torch.zeros(len(archs), archs.max_nodes, 1, device=archs.device)
    ends[:, 0] = 1.0
    bits: list[Tensor] = []
    while sum(part.shape[1] for part in bits) < limit:
        bits.append((output[:, :, None] * ends).amax(dim=1) > 0)
        reached = (into @ ends > 0).float()
        ends = (reached[:, :, :, None] * label[:, :, None, :]).flatten(2)
    if not bits:
        return torch.zeros(len(archs), 0, dtype=torch.bool, device=archs.device)
    return torch.cat(bits, dim=1)[:, :limit]


def adjacency_encoding(archs: ArchitectureBatch, num_ops: int) -> Bool[Tensor, "batch bit"]:
    """Tell which edges are there, and which operation each node has, in the order as stored.

    First the pairs of nodes ``i < j``, row by row; then ``num_ops`` bits for each node, none of
    them set where there is no node: what [BANANAS] compares its path encoding with. Isomorphic
    graphs may differ.

    Args:
        archs: The graphs.
        num_ops: Size of the operation vocabulary.

    Raises:
        ValueError: If an operation is not in the vocabulary.
    """
    if len(archs) and not 0 <= int(archs.ops.min()) <= int(archs.ops.max()) < num_ops:
        raise ValueError(f"an operation is not one of the {num_ops} to encode: use their number")
    above = torch.ones(archs.max_nodes, archs.max_nodes, device=archs.device).triu(1).bool()
    ops = nn.functional.one_hot(archs.ops, num_ops).bool() & archs.node_mask[:, :, None]
    return torch.cat([archs.adj[:, above], ops.flatten(1)], dim=1)
