"""Adjacency encoding against hand-made bits."""

import pytest
import torch
from brute import all_dags, graph

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.encodings import adjacency_encoding


def test_hand_computed():
    arch = graph([(0, 2), (1, 2)], [1, 0, 2], pad=1)
    bits = adjacency_encoding(arch, 3)
    pairs = [0, 1, 0, 1, 0, 0]  # 01 02 03 12 13 23
    ops = [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]  # the last node is padding
    assert bits[0].tolist() == [bool(bit) for bit in pairs + ops]


def test_graphs_that_differ_as_stored_have_different_bits():
    archs = all_dags(4, num_ops=2)
    bits = adjacency_encoding(archs, 2)
    assert bits.dtype == torch.bool
    assert bits.shape == (len(archs), 6 + 8)
    assert len(bits.unique(dim=0)) == len(archs)


def test_no_graph_has_no_bits_and_unknown_operations_are_refused():
    assert adjacency_encoding(ArchitectureBatch.empty(5), 3).shape == (0, 10 + 15)
    with pytest.raises(ValueError, match="one of the 2"):
        adjacency_encoding(all_dags(2, num_ops=3), 2)
