"""Tables on disk: what is written is found again, and damage is noticed."""

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables import packing
from netwright.tables.format import Column, Rows, Table

SPACE = Toy()


def make_rows(n=None, **columns):
    archs = SPACE.enumerate()
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:n]]
    scores = torch.arange(len(archs), dtype=torch.float64) / len(archs)
    return Rows(archs, {"toy/valid@3": Column(scores), **columns}, "made up", "none")


@pytest.fixture
def rows():
    return make_rows()


@pytest.fixture
def table(tmp_path, rows):
    return Table.write(tmp_path / "toy.safetensors", SPACE, rows)


def test_every_row_is_found_again(table, rows):
    found = table.lookup(SPACE.keys(rows.archs))
    assert sorted(found.tolist()) == list(range(len(rows.archs)))
    torch.testing.assert_close(
        table.column("toy/valid@3")[found], rows.columns["toy/valid@3"].values.float()
    )
    assert table.archs(found).equal(rows.archs).all()


def test_header(table, rows):
    info = table.info()
    assert len(table) == info["rows"] == len(rows.archs)
    assert info["space"] == table.space_name == SPACE.name
    assert info["metrics"] == list(table.metrics) == ["toy/valid@3"]
    assert info["units"] == {"toy/valid@3": "fraction"}
    assert (info["source"], info["licence"]) == ("made up", "none")
    assert info["measured"] == {"toy/valid@3": len(rows.archs)}
    assert info["bytes"] == table.path.stat().st_size
    json.dumps(info)


def test_keys_are_sorted_pairs(table):
    pairs = [tuple(pair) for pair in table.keys.tolist()]
    assert pairs == sorted(pairs)
    assert any(hi < 0 for hi, _ in pairs)  # signed order is what is tested
    assert any(hi > 0 for hi, _ in pairs)


def test_missing_values_stay_missing_and_are_counted(tmp_path):
    n = SPACE.size
    holes = torch.full((n,), torch.nan).scatter_(0, torch.tensor([3]), 0.5)
    rows = make_rows(**{"toy/test": Column(holes)})
    table = Table.write(tmp_path / "t.safetensors", SPACE, rows)
    assert table.info()["measured"] == {"toy/valid@3": n, "toy/test": 1}
    row = table.lookup(SPACE.keys(rows.archs[3:4]))
    assert table.column("toy/test")[row].item() == 0.5


def test_counts_are_exact_and_accuracies_keep_five_decimals(tmp_path):
    n = SPACE.size
    counts = torch.arange(n, dtype=torch.float64) + 49_979_274  # beyond float32's integers
    accuracy = torch.arange(n, dtype=torch.float64) / 1e5 + 0.94317
    columns = {"parameters": Column(counts, "count"), "toy/test": Column(accuracy)}
    rows = make_rows(**columns)
    table = Table.write(tmp_path / "t.safetensors", SPACE, rows)
    found = table.lookup(SPACE.keys(rows.archs))
    assert torch.equal(table.column("parameters")[found], counts)
    stored = table.column("toy/test")[found].double()
    assert torch.equal((stored * 1e5).round(), (accuracy * 1e5).round())


class TestLookup:
    """The binary search, against a dictionary."""

    @staticmethod
    def table_of(keys):
        keys = keys[packing.sorted_order(keys)]
        return Table(Path("t"), "s", {}, {}, "", "", "", {"keys": keys})

    @settings(deadline=None, max_examples=50)
    @given(
        st.sets(st.tuples(st.integers(-2, 2), st.integers(-3, 3)), min_size=1),
        st.lists(st.tuples(st.integers(-3, 3), st.integers(-4, 4))),
    )
    def test_small_keys_with_many_equal_halves(self, keys, wanted):
        table = self.table_of(torch.tensor(list(keys)).view(-1, 2))
        place = {pair: i for i, pair in enumerate(sorted(keys))}
        found = table.lookup(torch.tensor(wanted, dtype=torch.long).view(-1, 2))
        assert found.tolist() == [place.get(pair, -1) for pair in wanted]

    def test_extreme_keys(self):
        least, most = -(2**63), 2**63 - 1
        pairs = [(hi, lo) for hi in (least, -1, 0, most) for lo in (least, 0, most)]
        table = self.table_of(torch.tensor(pairs).flip(0))
        assert table.lookup(torch.tensor(pairs)).tolist() == list(range(len(pairs)))
        absent = torch.tensor([[least, 1], [1, most], [most, most - 1]])
        assert table.lookup(absent).tolist() == [-1, -1, -1]

    def test_shape_and_dtype_of_no_key(self):
        table = self.table_of(torch.tensor([[0, 0]]))
        assert table.lookup(torch.zeros(0, 2, dtype=torch.long)).shape == (0,)


def test_absent_row_has_no_architecture(tmp_path):
    table = Table.write(tmp_path / "t.safetensors", SPACE, make_rows(5))
    found = table.lookup(SPACE.keys(make_rows().archs))
    assert (found >= 0).sum() == 5
    assert (found[:5] >= 0).all()
    with pytest.raises(ValueError, match="not in the table"):
        table.archs(found)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 6), st.integers(0, 2**32))
def test_packing_round_trip(nodes, n, seed):
    rng = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, nodes + 1, (n,), generator=rng)
    ops = torch.randint(0, 256, (n, nodes), generator=rng)
    adj = torch.rand(n, nodes, nodes, generator=rng) < 0.5
    archs = ArchitectureBatch.masked(ops, adj, sizes)
    packed = packing.pack(archs)
    assert packed[1].shape == (n, -(-nodes * (nodes - 1) // 2 // 8))
    assert packing.unpack(*packed).equal(archs).all()


def test_the_order_of_the_bits_is_as_documented():
    adj = torch.zeros(1, 5, 5, dtype=torch.bool)
    adj[0, 0, 1] = adj[0, 1, 2] = adj[0, 3, 4] = True  # edges 0, 4 and 9 of the triangle
    archs = ArchitectureBatch(torch.zeros(1, 5, dtype=torch.long), adj, torch.tensor([5]))
    assert packing.pack(archs)[1].tolist() == [[0b10001000, 0b01000000]]


def test_a_graph_too_large_for_the_format():
    nodes = packing.LIMIT + 1
    archs = ArchitectureBatch.empty(nodes)
    with pytest.raises(ValueError, match="at most 255 nodes"):
        packing.pack(archs)


def test_opening_reads_only_the_header(table):
    size = table.path.stat().st_size
    table = Table.open(table.path)
    before = table.column("toy/valid@3").clone()
    data = bytearray(table.path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    data[header:] = bytes(size - header)
    table.path.write_bytes(data)  # in place: a mapped file shows it, a copy would not
    assert not torch.equal(Table.open(table.path).column("toy/valid@3"), before)


def test_changing_a_view_does_not_change_the_file(table):
    before = table.path.read_bytes()
    table.column("toy/valid@3")[:] = 7
    assert table.path.read_bytes() == before


def test_a_disk_that_garbles_is_noticed_on_writing(tmp_path, monkeypatch, rows):
    def garble(path, data):
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr("netwright.tables.format.files.write_atomic", garble)
    with pytest.raises(ValueError, match="was altered"):
        Table.write(tmp_path / "t.safetensors", SPACE, rows)


class TestErrors:
    """Each thing that can be wrong is one line that says what to do."""

    def fails(self, match, call, *args):
        with pytest.raises(ValueError, match=match) as info:
            call(*args)
        assert "\n" not in str(info.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="netwright table import"):
            Table.open(tmp_path / "none.safetensors")

    def test_unknown_metric_lists_the_metrics(self, table):
        self.fails("choose from toy/valid@3", table.column, "toy/test")

    def test_truncated_anywhere(self, table):
        data = table.path.read_bytes()
        for size in range(0, len(data), 7):
            table.path.write_bytes(data[:size])
            self.fails("is truncated or not a table", Table.open, table.path)

    def test_any_changed_byte_is_noticed(self, table):
        data = table.path.read_bytes()
        for place in range(len(data)):
            altered = bytearray(data)
            altered[place] ^= 1 << (place % 7)
            table.path.write_bytes(altered)
            if data[place : place + 1] == b" " and altered[place : place + 1].isspace():
                continue  # a blank for a blank in the header's padding means nothing
            with pytest.raises(ValueError, match=r"altered|damaged|truncated|not a table|format"):
                Table.open(table.path).verify()

    def test_altered_value(self, table):
        table.verify()
        data = bytearray(table.path.read_bytes())
        data[-1] ^= 1
        table.path.write_bytes(data)
        self.fails("was altered", Table.open(table.path).verify)

    def test_exchanged_metric_names_are_an_alteration(self, tmp_path):
        rows = make_rows(**{"toy/tests@3": Column(torch.rand(SPACE.size))})
        table = Table.write(tmp_path / "t.safetensors", SPACE, rows)
        data = table.path.read_bytes()
        swapped = data.replace(b"valid@3", b"xxxxx@3").replace(b"tests@3", b"valid@3")
        table.path.write_bytes(swapped.replace(b"xxxxx@3", b"tests@3"))
        changed = Table.open(table.path)
        assert set(changed.metrics) == set(table.metrics)
        self.fails("was altered", changed.verify)

    def test_keys_that_are_not_those_of_the_graphs(self, tmp_path, monkeypatch, rows):
        monkeypatch.setattr(
            "netwright.spaces.base.hashing.keys",
            lambda archs: torch.arange(2 * len(archs)).view(-1, 2),
        )
        table = Table.write(tmp_path / "t.safetensors", SPACE, rows)
        monkeypatch.undo()
        self.fails("keys of another version", table.verify)

    def test_other_format_version(self, table):
        data = table.path.read_bytes()
        assert data.count(b'"format":"1"') == 1
        table.path.write_bytes(data.replace(b'"format":"1"', b'"format":"9"'))
        self.fails("table format 9.*reads 1: import it again", Table.open, table.path)

    def test_other_safetensors_file(self, tmp_path, table):
        save_file(load_file(table.path), tmp_path / "weights.safetensors")
        self.fails("not a table", Table.open, tmp_path / "weights.safetensors")

    def test_missing_tensor(self, table, tmp_path):
        from safetensors import safe_open

        with safe_open(table.path, framework="pt") as file:
            meta = file.metadata()
        tensors = load_file(table.path)
        del tensors["metric:toy/valid@3"]
        save_file(tensors, tmp_path / "t.safetensors", metadata=meta)
        self.fails("is damaged", Table.open, tmp_path / "t.safetensors")

    def test_duplicate_names_both_rows(self, tmp_path, rows):
        archs = ArchitectureBatch.cat([rows.archs, rows.archs[4:5]])
        twice = Rows(archs, {"a": Column(torch.rand(len(archs)))}, "", "")
        text = re.escape(SPACE.to_text(rows.archs[4:5])[0])
        path = tmp_path / "t.safetensors"
        self.fails(
            f"rows 5 and {len(archs)} hold.*{text}: keep one", Table.write, path, SPACE, twice
        )
        assert not path.exists()

    def test_renumbered_graphs_are_duplicates(self, tmp_path):
        space = NASBench101()
        texts = [
            "input,conv3x3-bn-relu,conv1x1-bn-relu,output:0110000100010000",
            "input,conv1x1-bn-relu,conv3x3-bn-relu,output:0110000100010000",
        ]
        rows = Rows(space.parse(texts), {"a": Column(torch.rand(2))}, "", "")
        self.fails("rows 1 and 2", Table.write, tmp_path / "t.safetensors", space, rows)

    def test_wrong_space(self, table):
        self.fails(
            f"a table of the space {SPACE.name}, not of nasbench201", table.require, NASBench201()
        )

    @pytest.mark.parametrize(
        ("columns", "match"),
        [
            ({}, "at least one metric"),
            ({"a": Column(torch.rand(2))}, "a has 2 values for 27 architectures"),
            ({"a b": Column(torch.rand(27))}, "metric 'a b': write dataset/split@epochs"),
            ({"a/b@c": Column(torch.rand(27))}, "metric 'a/b@c'"),
        ],
    )
    def test_bad_columns(self, rows, columns, match):
        self.fails(match, Rows, rows.archs, columns, "", "")

    def test_unknown_unit(self, rows):
        column = Column(torch.rand(27))
        object.__setattr__(column, "unit", "percent")  # past the type checker
        self.fails(
            "unknown unit 'percent' of a: use fraction", Rows, rows.archs, {"a": column}, "", ""
        )

    def test_no_rows(self):
        none = ArchitectureBatch.empty(3)
        self.fails("at least one row", Rows, none, {"a": Column(torch.rand(0))}, "", "")


class TestSmallerSpaces:
    """A table serves smaller versions of its space, not larger ones."""

    def write(self, path, space):
        archs = space.sample(1, rng=stream(0, "archs"))
        rows = Rows(archs, {"a": Column(torch.rand(1))}, "", "")
        return Table.write(path / "t.safetensors", space, rows)

    def test_smaller(self, tmp_path):
        self.write(tmp_path, NASBench101()).require(NASBench101(max_nodes=5))

    def test_larger(self, tmp_path):
        table = self.write(tmp_path, NASBench101(max_nodes=5))
        with pytest.raises(ValueError, match="with max_nodes 5, the space has 7"):
            table.require(NASBench101())


def test_keys_have_not_changed_since_tables_were_written():
    """If this fails, hashing gives other keys: raise `FORMAT`, then update the figure."""
    arch = NASBench101().parse(["input,conv3x3-bn-relu,output:010001000"])
    assert NASBench101().keys(arch).tolist() == [[-8033644009652902913, -1500282236938202814]]
