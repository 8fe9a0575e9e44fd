"""The table of pruned cells: by hand, and of the real benchmark."""

import json
import math
import sys

import pytest
import torch

from netwright.cli.app import main
from netwright.graphs import hashing
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nats_pruned import NATSPruned, pruned
from netwright.spaces.toy import Toy
from netwright.tables.csv import import_csv
from netwright.tables.derive import derive, merge
from netwright.tables.format import Column, Rows, Table

CELLS, SPACE = NASBench201(), NATSPruned()
ALONE = "|{}~0|+|none~0|{}~1|+|{}~0|none~1|none~2|"  # 0>3, a dead end beside it
NAN = math.nan
ROWS = [
    # of one graph: input, 3x3, output
    (ALONE.format("none", "none", "nor_conv_3x3"), 0.9, 0.5, 100.0),
    (ALONE.format("nor_conv_1x1", "none", "nor_conv_3x3"), 0.8, NAN, 160.0),
    (ALONE.format("nor_conv_1x1", "skip_connect", "nor_conv_3x3"), 0.7, 0.1, 160.0),
    # of another
    (ALONE.format("none", "none", "nor_conv_1x1"), 0.6, NAN, 60.0),
    # a chain, through either inner node
    ("|avg_pool_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|", 0.3, 0.2, 0.0),
    ("|none~0|+|avg_pool_3x3~0|none~1|+|none~0|none~1|skip_connect~2|", 0.4, 0.3, 0.0),
    # of none
    (ALONE.format("none", "none", "none"), 0.1, 0.1, 0.0),
]
GRAPHS = [
    "input,nor_conv_3x3,output:010001000",
    "input,nor_conv_1x1,output:010001000",
    "input,avg_pool_3x3,skip_connect,output:0100001000010000",
]


@pytest.fixture
def table(tmp_path):
    texts, *values = zip(*ROWS, strict=True)
    units = {"mine/valid@1": "fraction", "mine/test@1": "fraction", "parameters": "count"}
    columns = {
        name: Column(torch.tensor(column, dtype=torch.float64), unit)
        for (name, unit), column in zip(units.items(), values, strict=True)
    }
    rows = Rows(CELLS.parse(texts), columns, "mine", "MIT")
    return Table.write(tmp_path / "cells.safetensors", CELLS, rows)


@pytest.mark.parametrize(
    ("keep", "valid", "test", "parameters", "word"),
    [
        ("mean", [0.8, 0.6, 0.35], [0.3, NAN, 0.25], [140.0, 60.0, 0.0], "mean"),
        ("worst", [0.7, 0.6, 0.3], [0.1, NAN, 0.2], [100.0, 60.0, 0.0], "lowest"),
    ],
    ids=["mean", "worst"],
)
def test_by_hand(table, tmp_path, keep, valid, test, parameters, word):
    made = derive(table, keep=keep, out=tmp_path / "pruned.safetensors")
    assert (made.space_name, len(made), made.licence) == ("nats_pruned", 3, "MIT")
    assert made.units == table.units
    assert made.source.startswith(f"mine; {word} over the cells of nasbench201")
    row = made.lookup(SPACE.keys(SPACE.parse(GRAPHS)))
    assert (row >= 0).all()
    for name, expected in zip(made.metrics, (valid, test, parameters), strict=True):
        got = made.column(name)[row].tolist()
        assert got == pytest.approx(expected, nan_ok=True), name
    made.require(SPACE)
    made.verify()


def test_graphs_are_stored_as_the_space_lists_them(table, tmp_path):
    made = derive(table, out=tmp_path / "pruned.safetensors")
    archs = made.archs(made.lookup(SPACE.keys(SPACE.parse(GRAPHS))))
    listed = SPACE.enumerate()
    place = (SPACE.keys(archs)[:, None] == SPACE.keys(listed)).all(dim=2).long().argmax(dim=1)
    assert archs.equal(listed[place]).all()


def test_what_cannot_be_derived(table, tmp_path):
    with pytest.raises(ValueError, match="another name"):
        derive(table, out=table.path)
    made = derive(table, out=tmp_path / "pruned.safetensors")
    with pytest.raises(ValueError, match=r"is a table of nats_pruned: .* from a table of nasben"):
        derive(made, out=tmp_path / "x.safetensors")
    rows = Rows(
        CELLS.parse([ROWS[-1][0]]), {"acc": Column(torch.tensor([0.1]))}, "mine", "not stated"
    )
    barren = Table.write(tmp_path / "barren.safetensors", CELLS, rows)
    with pytest.raises(ValueError, match=r"no cell in .*barren.* nothing is left"):
        derive(barren, out=tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_merging_leaves_gaps_where_there_is_nothing():
    values = torch.tensor([1.0, NAN, 3.0, NAN])
    group = torch.tensor([2, 2, 2, 0])
    assert merge(values, group, 4, "mean").tolist() == pytest.approx(
        [NAN, NAN, 2, NAN], nan_ok=True
    )
    assert merge(values, group, 4, "worst").tolist() == pytest.approx(
        [NAN, NAN, 1, NAN], nan_ok=True
    )


def test_the_command(table, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["netwright", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    monkeypatch.chdir(tmp_path)
    code, out, err = run("table", "derive", table.path, "--space", "nats_pruned", "--keep", "worst")
    assert (code, err) == (0, "")
    assert "wrote nats_pruned.safetensors: 3 architectures of nats_pruned" in out
    code, out, _ = run("table", "derive", table.path, "-s", "nats_pruned", "-o", "b/c", "--json")
    assert code == 0
    info = json.loads(out)
    assert (info["space"], info["rows"], info["licence"]) == ("nats_pruned", 3, "MIT")
    code, out, _ = run("table", "query", "b/c", GRAPHS[0], "--json")
    assert json.loads(out)[0]["mine/valid@1"] == pytest.approx(0.8)
    for arguments, problem in (
        ([table.path, "-s", "enas"], "no table is derived for 'enas': use nats_pruned or"),
        ([table.path, "-s", "nats_pruned", "-o", table.path], "give the new one another name"),
        (["b/c", "-s", "nats_pruned"], "b/c is a table of nats_pruned"),
        (["none", "-s", "nats_pruned"], "no table at none"),
    ):
        code, _, err = run("table", "derive", *arguments)
        assert code != 0
        assert problem in err
        assert err.count("\n") == 1


@pytest.fixture(scope="module")
def real(data, tmp_path_factory):
    path = data / "nasbench201.csv.gz"
    if not path.is_file():
        pytest.skip("no nasbench201.csv.gz")
    rows = import_csv(path, CELLS, source="its CSV file", licence="not stated")
    return Table.write(tmp_path_factory.mktemp("real") / "cells.safetensors", CELLS, rows)


@pytest.mark.parametrize("keep", ["mean", "worst"])
def test_the_real_table(real, tmp_path, keep):
    made = derive(real, keep=keep, out=tmp_path / "pruned.safetensors")
    assert len(made) == SPACE.size
    assert (made.lookup(SPACE.keys(SPACE.enumerate())) >= 0).all()
    assert made.metrics == real.metrics
    cells = real.archs(torch.arange(len(real)))
    key = hashing.to_hex(SPACE.keys(pruned(cells)))
    gathered = {}
    for name, value in zip(key, real.column("cifar10/test@200").tolist(), strict=True):
        gathered.setdefault(name, []).append(value)
    merged = made.column("cifar10/test@200").tolist()
    reduce = min if keep == "worst" else lambda values: sum(values) / len(values)
    for name, value in zip(hashing.to_hex(made.keys), merged, strict=True):
        assert value == pytest.approx(reduce(gathered[name]), abs=1e-6)
    # A cell whose operations all compute is the only one of its graph.
    full = (cells.ops[:, 1:7] != CELLS.op_names.index("none")).all(dim=1).nonzero()[:, 0]
    row = made.lookup(SPACE.keys(pruned(cells[full])))
    assert torch.equal(made.column("parameters")[row], real.column("parameters")[full])


def test_a_table_of_another_space(tmp_path):
    archs = Toy().enumerate()
    rows = Rows(archs, {"acc": Column(torch.rand(27))}, "mine", "MIT")
    toy = Table.write(tmp_path / "toy.safetensors", Toy(), rows)
    with pytest.raises(ValueError, match="is a table of toy: nats_pruned is derived from"):
        derive(toy, out=tmp_path / "x.safetensors")
