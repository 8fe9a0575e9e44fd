"""Isomorphism-invariant 128-bit keys, for whole batches at once.

Colour refinement on 64-bit integers: a node's colour is mixed with the sums of its mixed
predecessors' and successors' colours, once per node of the graph. It tells every pair of
non-isomorphic graphs of NAS-Bench-101 apart (the enumeration is the proof). Colour refinement can
merge regular graphs, so above `EXACT_NODES` nodes a graph whose colours do not single out every
node is refined once more with each node marked in turn.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch

EXACT_NODES = 8
_CHUNK = 8192  # graphs refined at a time: the working set stays in the cache

# Odd constants of splitmix64 and of the golden ratio, as signed 64-bit integers.
_A, _B, _C = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15, -0x61C8864680B583EB


def _mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Scramble 64-bit integers by a bijection (splitmix64); products wrap around."""
    x = (x ^ ((x >> 30) & (1 << 34) - 1)) * _A
    x = (x ^ ((x >> 27) & (1 << 37) - 1)) * _B
    return x ^ ((x >> 31) & (1 << 33) - 1)


def _refine(
    colour: Int[Tensor, "batch node"], archs: ArchitectureBatch
) -> Int[Tensor, "batch node"]:
    """Refine colours as often as a graph has nodes, so that padding changes nothing."""
    sizes = archs.num_nodes
    smallest, largest = (int(sizes.min()), int(sizes.max())) if len(sizes) else (0, 0)
    into, out_of = archs.adj.mT.long(), archs.adj.long()
    for step in range(largest):
        a, b = _mix(colour + _A), _mix(colour + _B)
        gathered = (into * a[:, None, :]).sum(dim=2) + (out_of * b[:, None, :]).sum(dim=2)
        fresh = _mix(colour * _C + gathered)
        colour = fresh if step < smallest else torch.where((step < sizes)[:, None], fresh, colour)
    return colour


def _summary(colour: Int[Tensor, "batch node"], archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
    """Two independent 64-bit digests of the multiset of node colours."""
    real = archs.node_mask
    digests = [(_mix(colour ^ salt) * real).sum(dim=1) + archs.num_nodes for salt in (_A, _C)]
    return _mix(torch.stack(digests, dim=1))


def _ambiguous(
    colour: Int[Tensor, "batch node"], archs: ArchitectureBatch
) -> Bool[Tensor, " batch"]:
    """Graphs above `EXACT_NODES` nodes in which two nodes share a colour."""
    position = torch.arange(archs.max_nodes, device=archs.device)
    distinct_padding = torch.where(archs.node_mask, colour, position)
    ordered = distinct_padding.sort(dim=1).values
    return (ordered[:, 1:] == ordered[:, :-1]).any(dim=1) & (archs.num_nodes > EXACT_NODES)


def keys(archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
    """Return a 128-bit key per graph, as two signed 64-bit integers, equal for isomorphic graphs.

    Isomorphic means: equal after renumbering the nodes, with operations and edge directions
    kept. Neither the node order nor the padding matters.
    """
    parts = [_keys(archs[i : i + _CHUNK]) for i in range(0, len(archs), _CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, 2, dtype=torch.long)


def _keys(archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
    archs = ArchitectureBatch(archs.ops.long(), archs.adj, archs.num_nodes.long())
    start = _mix(archs.ops + 1)
    colour = _refine(start, archs)
    key = _summary(colour, archs)
    if archs.max_nodes > EXACT_NODES:
        for i in _ambiguous(colour, archs).nonzero()[:, 0].tolist():
            n = int(archs.num_nodes[i])
            one = archs[i : i + 1].pad(n)
            copies = one[torch.zeros(n, dtype=torch.long, device=archs.device)]
            marked = start[i, :n] + torch.eye(n, dtype=torch.long, device=archs.device) * _C
            digests = _summary(_refine(marked, copies), copies)
            key[i] = _mix(key[i] + _mix(digests).sum(dim=0))
    return key


def to_hex(key: Int[Tensor, "batch 2"]) -> list[str]:
    """Write keys as 32 hexadecimal digits."""
    mask = (1 << 64) - 1
    return [f"{hi & mask:016x}{lo & mask:016x}" for hi, lo in key.tolist()]


def first_of_each(key: Int[Tensor, "batch 2"]) -> Int[Tensor, " distinct"]:
    """Return the positions, in order, at which each distinct key stands first."""
    _, inverse = key.unique(dim=0, return_inverse=True)
    position = torch.arange(len(key), device=key.device)
    first = torch.full((len(key),), len(key), device=key.device)
    first.scatter_reduce_(0, inverse, position, "amin")
    return first[first < len(key)].sort().values
