"""Cells that NAS-Bench-101 and NATS have in common: by hand, and in the real tables."""

import math
import os
from pathlib import Path

import pytest
import torch

from netwright.graphs import dag
from netwright.reproductions.transfer import experiment, nats_lookup, overlap, to_nats
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nats_pruned import NATSPruned
from netwright.spaces.toy import Toy
from netwright.tables.csv import import_csv
from netwright.tables.derive import derive
from netwright.tables.format import Column, Rows, Table

NB101, NB201, NATS = NASBench101(), NASBench201(), NATSPruned()
DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[2] / "../shared/data"))
C1, C3, POOL = NB101.op_names[1:4]
TEST, TWELVE = "cifar10/test@200", "cifar10-valid/valid@12"

CELLS = {
    f"input,{C3},output:010001000": 0.9,
    f"input,{C3},output:011001000": 0.8,
    f"input,{C1},{POOL},output:0100001000010000": 0.5,
    f"input,{C1},{C3},output:0110000100010000": 0.4,  # stored as NATS does
    f"input,{POOL},{C1},output:0110000100010000": 0.6,  # stored the other way round
    f"input,{C1},{C1},{C1},{C1},{C1},output:" + "".join(
        "1" if j == i + 1 else "0" for i in range(7) for j in range(7)
    ): 0.1,  # no cell of NATS is so long
}  # fmt: skip
STRINGS = {
    # input, 3x3, output
    "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|": (0.95, 0.5),
    # the same once the skip is gone
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|": (0.85, 0.3),
    # with an edge from input to output, in place of a skip
    "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|": (0.7, math.nan),
    # pooling after 1x1
    "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|": (0.9, 0.2),
    # two operations side by side, both orders
    "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_1x1~1|none~2|": (0.3, 0.3),
    "|skip_connect~0|+|none~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|": (0.5, 0.5),
    # in no cell of NAS-Bench-101
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|": (0.2, 0.2),
    # joins nothing
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|": (0.1, 0.1),
}


@pytest.fixture
def nb101(tmp_path):
    values = torch.tensor(list(CELLS.values()), dtype=torch.float64)
    columns = {"cifar10/test@108": Column(values)}
    rows = Rows(NB101.parse(list(CELLS)), columns, "mine", "MIT")
    return Table.write(tmp_path / "nb101.safetensors", NB101, rows)


@pytest.fixture
def nats(tmp_path):
    test, twelve = torch.tensor(list(STRINGS.values()), dtype=torch.float64).T
    columns = {TEST: Column(test), TWELVE: Column(twelve)}
    rows = Rows(NB201.parse(list(STRINGS)), columns, "mine", "MIT")
    return Table.write(tmp_path / "nats.safetensors", NB201, rows)


def test_operations_become_their_namesakes():
    chain = "0100000100000100000100000"
    archs = NB101.from_text([f"input,{POOL},{C1},{C3},output:{chain}"])
    made = to_nats(archs.pad(9))
    expected = f"input,avg_pool_3x3,nor_conv_1x1,nor_conv_3x3,output:{chain}"
    assert NATS.to_text(made) == [expected]
    assert made.ops[0, 5:].tolist() == [0] * 4
    assert torch.equal(made.adj[0, :7, :7], archs.adj[0])


def test_looking_cells_up_by_hand(nats):
    lookup = nats_lookup(nats, [TEST, TWELVE])
    # 3x3 with and without skip are one; 3x3 beside an edge, 1x1 and pooling, two pairs, and
    # input to output alone.
    assert len(lookup) == 6
    place = lookup.find(to_nats(NB101.parse(list(CELLS))))
    assert (place >= 0).tolist() == [True, True, True, True, True, False]
    test, twelve = (lookup.columns[name][place[:5]].tolist() for name in (TEST, TWELVE))
    assert test == pytest.approx([0.9, 0.7, 0.9, 0.3, 0.5])
    assert twelve == pytest.approx([0.4, math.nan, 0.2, 0.3, 0.5], nan_ok=True)
    worst = nats_lookup(nats, [TEST], keep="worst")
    assert float(worst.columns[TEST][place[0]]) == pytest.approx(0.85)
    kept = nats_lookup(nats, [TEST], skips="kept")
    found = kept.find(to_nats(NB101.parse(list(CELLS))))
    assert (found >= 0).tolist() == [True, False, True, False, False, False]
    assert float(kept.columns[TEST][found[0]]) == pytest.approx(0.95)


def test_padding_and_node_order_do_not_matter_to_isomorphic_ones(nats):
    lookup = nats_lookup(nats, [TEST])
    archs = to_nats(NB101.parse(list(CELLS)))
    moved = dag.reorder(archs, dag.random_order(archs, rng=stream(3, "order"))).pad(9)
    assert torch.equal(lookup.find(moved), lookup.find(archs))


def test_the_overlap_by_hand(nb101, nats):
    found = overlap(nb101, nats, [TEST, TWELVE])
    assert (found.graphs, found.cells) == (6, 5)
    # |.9-.9| + |.8-.7| + |.5-.9| + |.4-.3| + |.6-.5|, over 5
    assert found.gaps[TEST] == pytest.approx(100 * 0.7 / 5, abs=1e-4)
    # |.9-.4| + |.5-.2| + |.4-.3| + |.6-.5|, over the 4 measured
    assert found.gaps[TWELVE] == pytest.approx(100 * 1.0 / 4, abs=1e-4)
    worst = overlap(nb101, nats, [TEST], keep="worst")
    assert worst.gaps[TEST] == pytest.approx(100 * 0.75 / 5, abs=1e-4)
    kept = overlap(nb101, nats, [TEST], skips="kept")
    assert (kept.graphs, kept.cells) == (7, 2)
    assert kept.gaps[TEST] == pytest.approx(100 * 0.45 / 2, abs=1e-4)


def test_graphs_as_they_are_stored(nb101, nats):
    """NATS stores what 0>1, 0>2, 1>2, 0>3, 1>3, 2>3 hold in that order."""
    found = overlap(nb101, nats, [TEST], order="as stored")
    lookup = nats_lookup(nats, [TEST], order="as stored")
    cells = NB101.parse(list(CELLS))
    place = lookup.find(to_nats(cells))
    assert (place >= 0).tolist() == [True, True, True, False, True, False]
    assert found.cells == 4


def test_a_derived_table_will_do(nb101, nats, tmp_path):
    pruned = derive(nats, out=tmp_path / "pruned.safetensors")
    assert overlap(nb101, pruned, [TEST]) == overlap(nb101, nats, [TEST])


def test_nothing_in_common_is_no_gap(nats, tmp_path):
    rows = Rows(
        NB101.parse(list(CELLS)[5:]), {"cifar10/test@108": Column(torch.ones(1))}, "mine", "MIT"
    )
    long = Table.write(tmp_path / "long.safetensors", NB101, rows)
    found = overlap(long, nats, [TEST])
    assert found.cells == 0
    assert math.isnan(found.gaps[TEST])
    assert len(experiment(long, nats)) == 2 * 8


def test_the_rows_of_all_variants(nb101, nats):
    rows = experiment(nb101, nats)
    assert len(rows) == 8 * 4
    assert len({(row.method, row.metric, row.column) for row in rows}) == len(rows)
    (cells,) = (
        row
        for row in rows
        if row.method == "skip nodes replaced, isomorphic, worst" and "both" in row.metric
    )
    assert (cells.mean, cells.paper) == (5, 576)
    (gap,) = (
        row
        for row in rows
        if row.method == "skip nodes replaced, isomorphic, worst" and row.column == TEST
    )
    assert (gap.mean, gap.paper) == (pytest.approx(15, abs=1e-3), 16.183)


def test_tables_of_other_spaces(nb101, nats, tmp_path):
    with pytest.raises(ValueError, match=r"nb101.* is a table of nasbench101: NATS cells are in"):
        overlap(nb101, nb101, [TEST])
    with pytest.raises(ValueError, match=r"nats.* is a table of nasbench201: one of nasbench101"):
        overlap(nats, nats, [TEST])
    with pytest.raises(ValueError, match="no metric 'x/y'"):
        overlap(nb101, nats, ["x/y"])
    rows = Rows(NB201.parse(list(STRINGS)), {"acc": Column(torch.ones(8))}, "mine", "MIT")
    other = Table.write(tmp_path / "other.safetensors", NB201, rows)
    with pytest.raises(ValueError, match="has none of cifar10/test@200, "):
        experiment(nb101, other)
    toy = Rows(Toy().enumerate(), {"acc": Column(torch.ones(27))}, "mine", "MIT")
    with pytest.raises(ValueError, match="is a table of toy"):
        overlap(nb101, Table.write(tmp_path / "toy.safetensors", Toy(), toy), ["acc"])


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    made = []
    for space in (NB101, NB201):
        path = DATA / f"{space.name}.csv.gz"
        if not path.exists():
            pytest.skip(f"needs {path.name}")
        rows = import_csv(path, space, source="its CSV file", licence="not stated")
        made.append(Table.write(folder / f"{space.name}.safetensors", space, rows))
    return made


@pytest.mark.slow  # reads NAS-Bench-101's CSV file
def test_the_papers_576(real):
    stored = overlap(*real, [TEST, TWELVE], order="as stored", keep="worst")
    assert (stored.graphs, stored.cells) == (6_604, 576)
    assert stored.gaps[TEST] < 5 < 15 < stored.gaps[TWELVE] < 25
    found = overlap(*real)
    assert (found.graphs, found.cells) == (5_256, 4_527)
    assert 1.5 < found.gaps[TEST] < 3
    kept = overlap(*real, skips="kept")
    assert (kept.graphs, kept.cells) == (8_764, 1_218)
