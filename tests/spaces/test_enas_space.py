"""The macro space of ENAS: its text, its graph, and the published architectures."""

import csv
import gzip
import os
from itertools import product
from pathlib import Path

import pytest
import torch

from netwright.graphs import hashing
from netwright.rng import stream
from netwright.spaces.enas import ENAS

SPACE = ENAS()
DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[2] / "../shared/data"))
TABLE = DATA / "enas6.csv.gz"


def edges(arch):
    return {tuple(edge) for edge in arch.adj[0].nonzero().tolist()}


def test_text_by_hand():
    arch = SPACE.parse(["1 0 5 4 0 0;- 0 11 111 1000 00100"])
    assert arch.ops.tolist() == [[0, 2, 1, 6, 5, 1, 1, 7]]
    names = [SPACE.op_names[op] for op in arch.ops[0]]
    assert names[1:5] == ["sepconv3x3", "conv3x3", "maxpool3x3", "avgpool3x3"]
    chain = {(i, i + 1) for i in range(7)}
    skips = {(0, 3), (1, 3), (0, 4), (1, 4), (2, 4), (0, 5), (2, 6)}
    assert edges(arch) == chain | skips
    assert SPACE.to_text(arch) == ["1 0 5 4 0 0;- 0 11 111 1000 00100"]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_enumeration_is_every_text_in_order(layers):
    space = ENAS(layers)
    operations = [" ".join(ops) for ops in product("012345", repeat=layers)]
    by_layer = [["".join(bits) for bits in product("01", repeat=n)] for n in range(1, layers)]
    skips = [" ".join(["-", *strings]) for strings in product(*by_layer)]
    texts = [f"{ops};{bits}" for ops in operations for bits in skips]
    assert space.to_text(space.enumerate()) == texts
    assert len(texts) == space.size


def test_published_sizes():
    """ENAS section 2.3: about 1.6e29 architectures of 12 layers."""
    assert ENAS(12).size == 6**12 * 2**66
    assert SPACE.size == 6**6 * 2**15


def test_large_spaces_are_not_listed():
    assert len(ENAS(4).enumerate()) == ENAS(4).size == 82_944
    with pytest.raises(ValueError, match=r"^5 layers have 7\.96e\+06 .*use at most 4 layers$"):
        ENAS(5).enumerate()


def test_the_output_takes_the_last_layer_alone():
    arch = SPACE.sample(1, rng=stream(0, "samples"))
    for source in range(6):
        other = arch[torch.tensor([0])]
        other.adj[0, source, 7] = True
        assert SPACE.invalid_reason(other) == "not in enas; rule broken: no edge is forbidden"


def test_the_chain_is_forced():
    arch = SPACE.sample(1, rng=stream(0, "samples"))
    for layer in range(7):
        other = arch[torch.tensor([0])]
        other.adj[0, layer, layer + 1] = False
        assert "every fixed edge is present" in SPACE.invalid_reason(other)


def test_neighbours_change_one_operation_or_one_skip():
    arch = SPACE.sample(1, rng=stream(0, "samples"))
    near = SPACE.neighbours(arch)
    relabelled = (near.ops != arch.ops).sum(dim=1)
    rewired = (near.adj != arch.adj).sum(dim=(1, 2))
    assert sorted(zip(relabelled.tolist(), rewired.tolist(), strict=True)) == (
        [(0, 1)] * 15 + [(1, 0)] * 30
    )


def test_samples_are_uniform():
    archs = SPACE.sample(20_000, rng=stream(0, "samples"))
    for op in range(1, 7):
        assert (((archs.ops[:, 1:7] == op).float().mean(dim=0) - 1 / 6).abs() < 0.015).all()
    skips = archs.adj.float().mean(dim=0)[SPACE.layout.free]
    assert len(skips) == 15
    assert ((skips - 0.5).abs() < 0.02).all()


@pytest.mark.parametrize(
    "text",
    [
        "1 0 5 4 0 0",
        "1 0 5 4 0;- 0 11 111 1000",
        "1 0 5 4 0 6;- 0 11 111 1000 00100",
        "1 0 5 4 0 0;- 0 11 111 1000 0010",
        "1 0 5 4 0 0;0 0 11 111 1000 00100",
        "1 0 5 4 0 0;- 0 11 111 1000 00200",
        "1 0 5 4 0 0;- 0 11 111 1000 00100\n",
        "1 0 5 4 0 \N{ARABIC-INDIC DIGIT THREE};- 0 11 111 1000 00100",
    ],
)
def test_unreadable_text(text):
    with pytest.raises(ValueError, match="is not of the form '0 0 0 0 0 0;- 0 00 000 0000 00000'"):
        SPACE.from_text(["0 0 0 0 0 0;- 0 00 000 0000 00000", text])


def test_a_network_has_a_layer():
    with pytest.raises(ValueError, match="at least 1 layer, not 0"):
        ENAS(0)


@pytest.mark.skipif(not TABLE.exists(), reason="needs enas6.csv.gz")
def test_published_architectures():
    """Written back to the letter; read as D-VAE does: bit k of a layer is the edge from node k."""
    with gzip.open(TABLE, "rt", newline="") as file:
        rows = [(row["ops"], row["skips"]) for row in csv.DictReader(file)]
    texts = [";".join(row) for row in rows]
    archs = SPACE.parse(texts)
    assert SPACE.to_text(archs) == texts
    assert len(archs) == 19_020
    for i in range(0, len(rows), 100):
        ops, skips = (part.split() for part in rows[i])
        assert archs.ops[i, 1:7].tolist() == [1 + int(op) for op in ops]
        expected = {(j, j + 1) for j in range(7)}
        for layer, bits in enumerate(skips, start=1):
            expected |= {(k, layer) for k, bit in enumerate(bits) if bit == "1"}
        assert edges(archs[i : i + 1]) == expected
    distinct = len(set(texts))
    assert len(hashing.first_of_each(SPACE.keys(archs))) == distinct == 19_015
