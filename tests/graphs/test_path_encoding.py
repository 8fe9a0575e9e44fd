"""Path encoding against the paths themselves."""

import torch
from brute import all_dags, graph, paths, random_archs

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.encodings import path_encoding
from netwright.rng import stream

OPS = (1, 2, 3)


def _bit(labels, ops):
    """Position of a sequence: all shorter ones first, then lexicographic order."""
    shorter = sum(len(ops) ** length for length in range(len(labels)))
    place = 0
    for label in labels:
        place = place * len(ops) + ops.index(label)
    return shorter + place


def _slow(archs, ops, size):
    bits = torch.zeros(len(archs), size, dtype=torch.bool)
    for b in range(len(archs)):
        for path in paths(archs, b):
            labels = [int(archs.ops[b, i]) for i in path[1:-1]]
            if set(labels) <= set(ops) and len(path) > 1:
                bits[b, _bit(labels, ops)] = True
    return bits


def test_hand_computed():
    """Direct edge, conv1x1, and conv3x3 after conv1x1: bits 0, 1 and 1 + 3 + 1."""
    arch = graph([(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)], [0, 1, 2, 4], pad=3)
    bits = path_encoding(arch, OPS)
    assert bits.shape == (1, 364)
    assert bits[0].nonzero()[:, 0].tolist() == [0, 1, 5]


def test_agrees_with_the_paths_of_random_cells():
    archs = random_archs(400, [2, 3, 5, 7], 3, rng=stream(0, "graphs"), p=0.7)
    archs = ArchitectureBatch.masked(archs.ops + 1, archs.adj, archs.num_nodes)
    expected = _slow(archs, OPS, 364)
    assert torch.equal(path_encoding(archs, OPS), expected)
    assert expected.any(dim=0)[[0, 3, 12, 39]].all()
    assert expected[:, 121:].any()
    for truncate in (0, 1, 40, 50, 1000):
        short = path_encoding(archs, OPS, truncate=truncate)
        assert torch.equal(short, expected[:, :truncate])
    assert torch.equal(path_encoding(archs, OPS, max_length=3), expected[:, :40])
    assert torch.equal(path_encoding(archs.pad(9), OPS, max_length=5), expected)


def test_paths_through_other_operations_have_no_bit():
    archs = all_dags(4, num_ops=3)
    assert torch.equal(path_encoding(archs, [2, 0]), _slow(archs, [2, 0], 7))


def test_large_graphs_can_be_truncated():
    archs = random_archs(4, [32], 6, rng=stream(0, "graphs"), p=0.2)
    assert path_encoding(archs, range(6), truncate=43).shape == (4, 43)


def test_no_graphs():
    assert path_encoding(ArchitectureBatch.empty(7), OPS).shape == (0, 364)
