"""128-bit keys for whole batches at once: equal for isomorphic graphs, or for equal ones only.

Isomorphism (`keys`) is colour refinement on 64-bit integers: a node's colour is mixed with a
weighted sum of its mixed neighbours' colours (1 for predecessors, an odd constant for successors),
once per node of the graph. This settles a graph if any two nodes that end up with one colour are
twins (have the same predecessors and the same successors). Where they are not, another graph might
have the same colours (two triangles and a hexagon, say): each node of one such colour is marked in
turn, the marked copies are refined, and the key sums up what they become.

No more than two nodes are marked at a time, which bounds the work on graphs of many equal parts.
That tells apart even DAGs made from the two strongly regular graphs of 16 vertices; graphs built to
defeat it would share a key. The tests: brute force, the numbers of unlabelled DAGs of up to 7
nodes, and the 423,624 cells of NAS-Bench-101.

Equality in the order in which nodes are stored (`labelled_keys`) needs one random number per edge.
"""

from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch

_CHUNK = 2**18  # node pairs refined at a time: the working set stays in the cache
_MARKS = 2  # nodes marked at a time
_FEW = 4  # graphs whose keys are remembered, rather than computed at once
_REMEMBERED = 2**14

# Odd constants of splitmix64 and of the golden ratio, as signed 64-bit integers.
_A, _B, _C = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15, -0x61C8864680B583EB


def keys(archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
    """Return a 128-bit key per graph, as two signed 64-bit integers, equal for isomorphic graphs.

    Isomorphic means: equal after renumbering the nodes, with operations and edge directions
    kept. Neither the node order nor the padding matters. Keys of a few graphs are remembered: a
    search that goes step by step asks for the same ones again and again.
    """
    if 0 < len(archs) <= _FEW and archs.device.type == "cpu":
        pairs = [_key_of(*content) for content in contents(archs)]
        return torch.tensor(pairs)
    return _keys(archs.ops, archs.adj, archs.num_nodes)


def contents(archs: ArchitectureBatch) -> list[tuple[int, bytes, bytes]]:
    """Return nodes, operations and edges of each graph as stored, less the padding; of the CPU."""
    parts = zip(archs.ops.long(), archs.adj, archs.num_nodes.tolist(), strict=True)
    return [
        (n, ops[: n or 1].numpy().tobytes(), adj[: n or 1, : n or 1].numpy().tobytes())
        for ops, adj, n in parts
    ]


def _keys(
    ops: Int[Tensor, "batch node"],
    adj: Bool[Tensor, "batch node node"],
    num_nodes: Int[Tensor, " batch"],
) -> Int[Tensor, "batch 2"]:
    return _digest(_mix(ops.long() + 1), adj, num_nodes.long(), _MARKS)


@lru_cache(maxsize=_REMEMBERED)
def _key_of(n: int, ops: bytes, adj: bytes) -> tuple[int, int]:
    """Return the key of one graph of ``n`` nodes, from the bytes of its tensors."""
    nodes = torch.tensor(list(memoryview(ops).cast("q")), dtype=torch.long)
    edges = torch.tensor(list(adj), dtype=torch.bool).view(len(nodes), len(nodes))
    [[first, second]] = _keys(nodes[None], edges[None], torch.tensor([n])).tolist()
    return first, second


def to_pairs(key: Int[Tensor, "batch 2"]) -> list[tuple[int, int]]:
    """Return keys as pairs of numbers, which dictionaries and sets can hold."""
    return [(first, second) for first, second in key.tolist()]


def to_hex(key: Int[Tensor, "batch 2"]) -> list[str]:
    """Write keys as 32 hexadecimal digits."""
    mask = (1 << 64) - 1
    return [f"{hi & mask:016x}{lo & mask:016x}" for hi, lo in key.tolist()]


def labelled_keys(archs: ArchitectureBatch) -> Int[Tensor, "batch 2"]:
    """Return a 128-bit key per graph, equal for graphs that are the same to the letter.

    The same means: as many nodes, and the same operations and edges in the order in which the
    nodes are stored, as in the published measures of generators; padding does not matter. Each
    half is a sum of fixed random numbers, one for each edge and each operation at its node.
    """
    size = archs.max_nodes
    place = torch.arange(size, device=archs.device)
    pair = (place << 32) + place[:, None]  # numbers edges whatever the padding
    chunk = max(1, _CHUNK // max(1, size**2))
    parts = []
    for i in range(0, len(archs), chunk):
        some = archs[i : i + chunk]
        label = ~((some.ops.long() << 32) + place)  # negative, so no edge has this number
        halves = [
            (_mix(label ^ salt) * some.node_mask).sum(dim=1)
            + (_mix(pair ^ salt) * some.adj).sum(dim=(1, 2))
            for salt in (_A, _C)
        ]
        parts.append(torch.stack(halves, dim=1))
    return torch.cat(parts) if parts else torch.zeros(0, 2, dtype=torch.long, device=archs.device)


def first_of_each(key: Int[Tensor, "batch 2"]) -> Int[Tensor, " distinct"]:
    """Return the positions, in order, at which each distinct key stands first."""
    order, fresh = _sorted(key)
    return order[fresh].sort().values


def distinct(key: Int[Tensor, "batch 2"]) -> Int[Tensor, "distinct 2"]:
    """Return each key once, in ascending order (as pairs of signed integers), for `find`."""
    order, fresh = _sorted(key)
    return key[order[fresh]]


def find(known: Int[Tensor, "known 2"], key: Int[Tensor, "batch 2"]) -> Int[Tensor, " batch"]:
    """Return at which place of ``known`` each key stands, -1 where it does not.

    A binary search for all keys at once: on the first half, then on the second half among those
    that share the first.

    Args:
        known: Keys in ascending order, each once, as `distinct` returns them.
        key: What to look for.

    Raises:
        ValueError: If ``known`` is not in that order.
    """
    step = known[1:] > known[:-1]
    same = known[1:, 0] == known[:-1, 0]
    if not bool(torch.where(same, step[:, 1], step[:, 0]).all()):
        raise ValueError("known keys must be ascending, each once: pass hashing.distinct(known)")
    if not len(known):
        return torch.full((len(key),), -1, device=key.device)
    first, wanted = known[:, 0].contiguous(), key[:, 0].contiguous()
    low = torch.searchsorted(first, wanted)
    high = torch.searchsorted(first, wanted, right=True)
    last = len(known) - 1
    while bool((low < high).any()):
        middle = (low + high) // 2
        less = (low < high) & (known[middle.clamp(max=last), 1] < key[:, 1])
        low, high = torch.where(less, middle + 1, low), torch.where(less, high, middle)
    place = low.clamp(max=last)
    return torch.where((known[place] == key).all(dim=1), place, -1)


def _sorted(
    key: Int[Tensor, "batch 2"],
) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """The stable order by (first, second) half, and where in it a key is not the one before."""
    order = key[:, 1].argsort(stable=True)
    order = order[key[order, 0].argsort(stable=True)]
    ordered = key[order]
    fresh = torch.ones(len(key), dtype=torch.bool, device=key.device)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(dim=1)
    return order, fresh


def _mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Scramble 64-bit integers by a bijection (splitmix64); products wrap around."""
    x = (x ^ ((x >> 30) & (1 << 34) - 1)) * _A
    x = (x ^ ((x >> 27) & (1 << 37) - 1)) * _B
    return x ^ ((x >> 31) & (1 << 33) - 1)


def _digest(
    colour: Int[Tensor, "batch node"],
    adj: Bool[Tensor, "batch node node"],
    sizes: Int[Tensor, " batch"],
    marks: int,
) -> Int[Tensor, "batch 2"]:
    """Digest coloured graphs, marking up to ``marks`` nodes of the graphs left open."""
    chunk = max(1, _CHUNK // max(1, colour.shape[1] ** 2))
    parts = [
        _digest_chunk(colour[i : i + chunk], adj[i : i + chunk], sizes[i : i + chunk], marks)
        for i in range(0, len(adj), chunk)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, 2, dtype=torch.long, device=adj.device)


def _digest_chunk(
    colour: Int[Tensor, "batch node"],
    adj: Bool[Tensor, "batch node node"],
    sizes: Int[Tensor, " batch"],
    marks: int,
) -> Int[Tensor, "batch 2"]:
    position = torch.arange(colour.shape[1], device=colour.device)
    real = position < sizes[:, None]
    weight = adj.mT + adj * _B
    colour = _refine(colour, weight, sizes)
    halves = [(_mix(colour ^ salt) * real).sum(dim=1) + sizes for salt in (_A, _C)]
    digest = _mix(torch.stack(halves, dim=1))
    if not marks:
        return digest
    ordered = torch.where(real, colour, position).sort(dim=1).values
    shared = (ordered[:, 1:] == ordered[:, :-1]).any(dim=1).nonzero()[:, 0]
    row, node = _undecided(colour[shared], weight[shared], real[shared]).nonzero().T
    if not len(row):
        return digest
    graph = shared[row]
    marked = colour[graph]
    marked[torch.arange(len(row), device=row.device), node] += _C
    below = _mix(_digest(marked, adj[graph], sizes[graph], marks - 1))
    total = torch.zeros_like(digest).index_add_(0, graph, below)
    left_open = graph.unique()
    digest[left_open] = _mix(digest[left_open] + total[left_open])
    return digest


def _refine(
    colour: Int[Tensor, "batch node"],
    weight: Int[Tensor, "batch node node"],
    sizes: Int[Tensor, " batch"],
) -> Int[Tensor, "batch node"]:
    """Refine colours as often as a graph has nodes, so that padding changes nothing."""
    smallest, largest = int(sizes.min()), int(sizes.max())
    for step in range(largest):
        fresh = _mix(colour * _C + _product(weight, _mix(colour + _A)))
        colour = fresh if step < smallest else torch.where((step < sizes)[:, None], fresh, colour)
    return colour


def _product(
    weight: Int[Tensor, "batch node node"], value: Int[Tensor, "batch node"]
) -> Int[Tensor, "batch node"]:
    """Multiply matrices by vectors, modulo 2^64."""
    if weight.device.type == "cpu":
        return torch.bmm(weight, value[:, :, None])[:, :, 0]
    return (weight * value[:, None, :]).sum(dim=2)  # CUDA has no integer matrix product


def _undecided(
    colour: Int[Tensor, "batch node"],
    weight: Int[Tensor, "batch node node"],
    real: Bool[Tensor, "batch node"],
) -> Bool[Tensor, "batch node"]:
    """Find the nodes of the smallest colour that two nodes share which are not twins, if any."""
    name = _mix(torch.arange(1, colour.shape[1] + 1, device=colour.device))  # _mix(0) is 0
    neighbours = _product(weight, name.expand_as(colour))
    alike = colour[:, :, None] == colour[:, None, :]
    twins = neighbours[:, :, None] == neighbours[:, None, :]
    undecided = (alike & ~twins & real[:, :, None] & real[:, None, :]).any(dim=2)
    highest = torch.iinfo(torch.long).max
    smallest = torch.where(undecided, colour, highest).amin(dim=1, keepdim=True)
    return undecided & (colour == smallest)
