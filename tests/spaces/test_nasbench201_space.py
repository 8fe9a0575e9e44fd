"""NAS-Bench-201: the official string and its graph."""

import csv
import gzip
import os
from pathlib import Path

import pytest
import torch

from netwright.graphs import hashing
from netwright.rng import stream
from netwright.spaces.nasbench201 import CELL_EDGES, NASBench201

SPACE = NASBench201()
DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[2] / "../shared/data"))
TABLE = DATA / "nasbench201.csv.gz"


def test_all_cells_are_distinct():
    archs = SPACE.enumerate()
    assert len(archs) == SPACE.size == 15_625
    assert len(hashing.first_of_each(SPACE.keys(archs))) == 15_625
    assert SPACE.is_valid(archs).all()


def test_text_round_trip_of_the_whole_space():
    archs = SPACE.enumerate()
    texts = SPACE.to_text(archs)
    assert len(set(texts)) == 15_625
    assert SPACE.from_text(texts).equal(archs).all()


def test_official_string_by_hand():
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    arch = SPACE.parse([text])
    assert arch.ops.tolist() == [[0, 4, 1, 2, 3, 5, 4, 6]]
    assert SPACE.to_text(arch) == [text]


def test_graph_edges_are_consecutive_cell_edges():
    """Operation a feeds operation b where a's cell edge ends at the node where b's begins."""
    adj = SPACE.enumerate().adj
    edges = {1 + i: edge for i, edge in enumerate(CELL_EDGES)} | {0: (None, 0), 7: (3, None)}
    expected = {
        (a, b) for a, (_, end) in edges.items() for b, (begin, _) in edges.items() if end == begin
    } - {(7, 0)}
    assert {tuple(edge) for edge in adj[0].nonzero().tolist()} == expected
    assert (adj == adj[:1]).all()


def test_neighbours_change_one_operation():
    arch = SPACE.sample(1, rng=stream(0, "samples"))
    near = SPACE.neighbours(arch)
    assert len(near) == 24
    assert ((near.ops != arch.ops).sum(dim=1) == 1).all()


def test_samples_are_uniform():
    ops = SPACE.sample(20_000, rng=stream(0, "samples")).ops[:, 1:7]
    share = torch.stack([(ops == op).float().mean(dim=0) for op in range(1, 6)])
    assert ((share - 0.2).abs() < 0.015).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|nor_conv_3x3~0|", "not of the form"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~3|", "not of the form"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|", "unknown operation 'conv'"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|input~2|", "unknown operation 'input'"),
    ],
)
def test_unreadable_text(text, message):
    with pytest.raises(ValueError, match=message):
        SPACE.from_text([text])


@pytest.mark.skipif(not TABLE.exists(), reason="needs nasbench201.csv.gz")
def test_published_cells_are_the_enumerated_ones():
    with gzip.open(TABLE, "rt", newline="") as file:
        texts = [row["arch"] for row in csv.DictReader(file)]
    archs = SPACE.from_text(texts)
    assert SPACE.to_text(archs) == texts
    published, listed = (hashing.keys(x).unique(dim=0) for x in (archs, SPACE.enumerate()))
    assert torch.equal(published, listed)
