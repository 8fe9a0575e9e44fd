"""NAS-Bench-101: counts, distribution and edits known from elsewhere."""

import csv
import gzip
import os
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.base import Enumerable
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101()
DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[2] / "../shared/data"))
TABLE = DATA / "nasbench101.csv.gz"


def _hex(space, archs):
    return hashing.to_hex(space.keys(archs))


def test_published_counts():
    """[Ying2019]: 423,624 cells; by number of nodes as in the official records."""
    archs = SPACE.enumerate()
    assert len(archs) == SPACE.size == 423_624
    assert torch.bincount(archs.num_nodes).tolist() == [0, 0, 1, 6, 84, 2441, 62010, 359082]
    assert SPACE.is_valid(archs).all()
    assert len(hashing.first_of_each(SPACE.keys(archs))) == len(archs)


@pytest.mark.parametrize(
    ("max_nodes", "size"), [(2, 1), (3, 7), (4, 91), (5, 2532), (6, 64542), (7, 423_624)]
)
def test_sizes_with_nine_edges(max_nodes, size):
    assert NASBench101(max_nodes).size == size


@pytest.mark.parametrize(
    ("max_nodes", "max_edges"), [(2, 1), (5, 1), (5, 4), (5, 6), (5, 99), (6, 5), (6, 15), (7, 7)]
)
def test_size_is_what_enumeration_finds(max_nodes, max_edges):
    space = NASBench101(max_nodes, max_edges)
    assert space.size == len(space.enumerate())


def _all_matrices(n):
    """Every upper triangular matrix of ``n`` nodes with every labelling, valid or not."""
    pairs = torch.triu_indices(n, n, offset=1)
    bits = torch.tensor(list(product([False, True], repeat=pairs.shape[1])))
    adj = torch.zeros(len(bits), n, n, dtype=torch.bool)
    adj[:, pairs[0], pairs[1]] = bits
    ops = torch.tensor([[0, *inner, 4] for inner in product((1, 2, 3), repeat=n - 2)])
    size = len(adj) * len(ops)
    return ArchitectureBatch(
        ops.repeat(len(adj), 1), adj.repeat_interleave(len(ops), dim=0), torch.full((size,), n)
    )


def test_enumeration_lists_what_pruning_makes():
    """Every cell of up to 5 nodes is a pruned 5-node matrix, and the other way round."""
    space = NASBench101(5, 7)
    pruned = dag.prune(_all_matrices(5))
    found = set(_hex(space, pruned[space.is_valid(pruned)]))
    assert found == set(_hex(space, space.enumerate()))


def test_sampling_distribution():
    """Frequencies agree with the uniform distribution over valid, pruned 4-node matrices."""
    space, n = NASBench101(4, 5), 20_000
    pruned = dag.prune(_all_matrices(4))
    expected = Counter(_hex(space, pruned[space.is_valid(pruned)]))
    found = Counter(_hex(space, space.sample(n, rng=stream(0, "samples"))))
    assert found.keys() <= expected.keys()
    scale = n / expected.total()
    chi = sum((found[key] - c * scale) ** 2 / (c * scale) for key, c in expected.items())
    degrees = len(expected) - 1
    assert chi < degrees + 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("every node lies on a path", "input,maxpool3x3,output:011000000"),
        ("every operation is allowed", "input,input,output:010001000"),
        ("only the last, ends", "input,output,output:010001000"),
        ("only the last, ends", "input,maxpool3x3:0100"),
        ("at most 2 edges", "input,maxpool3x3,output:011001000"),
    ],
)
def test_cells_of_another_form_are_invalid(reason, text):
    space = NASBench101(3, 2)
    assert reason in (space.invalid_reason(space.from_text([text])) or "valid")


def test_text_of_the_official_form():
    text = "input,conv3x3-bn-relu,output:011001000"
    arch = SPACE.parse([text])
    assert arch.ops[0, :3].tolist() == [0, 2, 4]
    assert arch.adj[0].nonzero().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert SPACE.to_text(arch) == [text]


def test_parsing_prunes():
    text = "input,maxpool3x3,conv1x1-bn-relu,output:0111000000010000"
    assert SPACE.to_text(SPACE.parse([text])) == ["input,conv1x1-bn-relu,output:011001000"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,conv5x5,output:010001000", "unknown operation 'conv5x5'"),
        ("input,output:0100000", "2 x 2 adjacency bits"),
        ("input,output:0200", "adjacency bits"),
        ("input,output:0110", "cycle"),
        ("input," * 7 + "output:", "at most 7"),
    ],
)
def test_unreadable_text(text, message):
    with pytest.raises(ValueError, match=message):
        SPACE.from_text(["input,output:0100", text])


def test_text_round_trip():
    archs = ArchitectureBatch.cat(
        [NASBench101(5).enumerate(), SPACE.sample(2000, rng=stream(0, "samples"))]
    )
    assert SPACE.from_text(SPACE.to_text(archs)).equal(archs).all()


def _neighbours(space, text):
    return set(space.to_text(space.neighbours(space.parse([text]))))


def test_neighbours_of_the_smallest_cell():
    """Only growing is possible: one node beside the direct edge."""
    ops = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
    assert _neighbours(SPACE, "input,output:0100") == {f"input,{op},output:011001000" for op in ops}


def test_neighbours_of_a_triangle():
    """Two relabellings; without the direct edge; without the node."""
    space = NASBench101(3)
    assert _neighbours(space, "input,maxpool3x3,output:011001000") == {
        "input,conv1x1-bn-relu,output:011001000",
        "input,conv3x3-bn-relu,output:011001000",
        "input,maxpool3x3,output:010001000",
        "input,output:0100",
    }


def test_full_cells_lose_edges_but_gain_none():
    archs = SPACE.sample(300, rng=stream(0, "samples"))
    full = archs[(archs.num_edges == 9) & (archs.num_nodes == 7)]
    assert len(full)
    assert (SPACE.neighbours(full[:1]).num_edges <= 9).all()


@pytest.mark.parametrize(
    "space",
    [NASBench101(4, 4), NASBench101(4, 6), pytest.param(NASBench101(5, 5), marks=pytest.mark.slow)],
)
def test_neighbourhood_is_symmetric_and_connects_the_space(space):
    archs = space.enumerate()
    number = {key: i for i, key in enumerate(_hex(space, archs))}
    near = [
        {number[key] for key in _hex(space, space.neighbours(archs[i : i + 1]))}
        for i in range(len(archs))
    ]
    assert all(i in near[j] for i in range(len(archs)) for j in near[i])
    reached, frontier = {0}, {0}
    while frontier:
        frontier = {j for i in frontier for j in near[i]} - reached
        reached |= frontier
    assert len(reached) == len(archs)


def test_neighbours_do_not_depend_on_the_stored_order():
    rng = stream(0, "orders")
    archs = SPACE.sample(20, rng=rng)
    moved = dag.reorder(archs, dag.random_order(archs, rng=rng))
    assert not moved.equal(archs).all()
    for i in range(len(archs)):
        a, b = (set(_hex(SPACE, SPACE.neighbours(x[i : i + 1]))) for x in (archs, moved))
        assert a == b


def test_neighbourhood_of_large_cells_is_symmetric():
    arch = SPACE.sample(3, rng=stream(1, "samples"))[2:]
    own = _hex(SPACE, arch)[0]
    near = SPACE.neighbours(arch)
    assert len(near) > 10
    for i in range(len(near)):
        assert own in _hex(SPACE, SPACE.neighbours(near[i : i + 1]))


def test_impossible_spaces():
    with pytest.raises(ValueError, match="2 nodes and 1 edge"):
        NASBench101(1)
    with pytest.raises(ValueError, match="2 nodes and 1 edge"):
        NASBench101(7, 0)


def test_spaces_too_large_to_list_say_so():
    space = NASBench101(7, 10)
    assert not isinstance(space, Enumerable)
    assert isinstance(SPACE, Enumerable)
    with pytest.raises(ValueError, match="at most 6 nodes"):
        space.enumerate()


@pytest.mark.slow
@pytest.mark.skipif(not TABLE.exists(), reason="needs nasbench101.csv.gz")
def test_published_cells_are_the_enumerated_ones():
    with gzip.open(TABLE, "rt", newline="") as file:
        rows = [f"{row['operations']}:{row['adjacency']}" for row in csv.DictReader(file)]
    archs = SPACE.from_text(rows)
    assert SPACE.is_valid(archs).all()
    assert SPACE.to_text(archs) == rows
    published, listed = (
        hashing.keys(x).unique(dim=0, sorted=True) for x in (archs, SPACE.enumerate())
    )
    assert torch.equal(published, listed)
    assert len(published) == len(rows)
