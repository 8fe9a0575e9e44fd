"""Import of CSV files."""

import csv
import gzip

import pytest
import torch

from netwright.graphs import hashing
from netwright.spaces.base import distinct_members, graph_text
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables.csv import CHUNK, Metric, import_csv, parse_column
from netwright.tables.format import Table

SPACE = Toy()
TEXTS = SPACE.to_text(SPACE.enumerate())
ACC = {"acc": Metric("toy/valid@3")}


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path, space=SPACE, columns=ACC, **options):
    return import_csv(path, space, source="made up", licence="none", columns=columns, **options)


@pytest.fixture
def file(tmp_path):
    rows = [[text, i / 100] for i, text in enumerate(TEXTS)]
    return write(tmp_path / "toy.csv", ["arch", "acc"], rows)


def test_rows_and_values(file):
    rows = read(file)
    assert SPACE.to_text(rows.archs) == TEXTS
    assert rows.columns.keys() == {"toy/valid@3"}
    column = rows.columns["toy/valid@3"]
    assert column.values.tolist() == [i / 100 for i in range(len(TEXTS))]
    assert (column.unit, rows.source, rows.licence) == ("fraction", "made up", "none")


def test_percent_becomes_a_fraction(file):
    file.write_text(file.read_text().replace(",0.07", ",70"))
    rows = read(file, columns={"acc": Metric("toy/valid@3", "percent")})
    assert rows.columns["toy/valid@3"].unit == "fraction"
    assert rows.columns["toy/valid@3"].values[7:9].tolist() == pytest.approx([0.7, 0.0008])


def test_gzip_by_content_not_by_name(file):
    plain = read(file)
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert read(file).archs.equal(plain.archs).all()


def test_byte_order_mark_blank_lines_and_windows_line_ends(file):
    lines = file.read_text().splitlines()
    file.write_bytes(("\ufeff" + "\r\n".join([*lines, ""]) + "\r\n").encode())
    assert SPACE.to_text(read(file).archs) == TEXTS


def test_empty_cells_are_missing(tmp_path):
    rows = [[TEXTS[0], ""], [TEXTS[1], " "], [TEXTS[2], "0.5"]]
    values = read(write(tmp_path / "t.csv", ["arch", "acc"], rows)).columns["toy/valid@3"].values
    assert values.isnan().tolist() == [True, True, False]


def test_only_named_columns_are_read(tmp_path):
    header, rows = ["note", "acc", "arch"], [["first, best", 0.5, TEXTS[0]]]
    read_rows = read(write(tmp_path / "t.csv", header, rows))
    assert list(read_rows.columns) == ["toy/valid@3"]


def test_progress_counts_rows(file):
    seen = []
    read(file, progress=lambda done, share: seen.append((done, share)))
    assert seen == [(len(TEXTS), 1.0)]


def test_many_chunks_stay_in_order(tmp_path):
    n, space = 2 * CHUNK + 5, ENAS(4)
    rows = [[text, i] for i, text in enumerate(space.to_text(space.enumerate()[:n]))]
    path = write(tmp_path / "t.csv", ["arch", "acc"], rows)
    seen = []
    read_rows = read(
        path, space, {"acc": Metric("i", "count")}, progress=lambda *told: seen.append(told)
    )
    assert read_rows.columns["i"].values.tolist() == list(range(n))
    assert space.to_text(read_rows.archs[-3:]) == [row[0] for row in rows[-3:]]
    done, shares = zip(*seen, strict=True)
    assert done == (CHUNK, 2 * CHUNK, n)
    assert 0.4 < shares[0] < 0.6 < shares[1] <= shares[2] == 1
    bad = CHUNK + 3
    rows[bad - 1][1] = "?"
    with pytest.raises(ValueError, match=f"row {bad}: acc is '\\?'"):
        read(write(path, ["arch", "acc"], rows), space)
    rows[bad - 1] = ["?", 0]
    with pytest.raises(ValueError, match=f"row {bad}: "):
        read(write(path, ["arch", "acc"], rows), space)
    rows[bad - 1] = [rows[1][0], 0]
    with pytest.raises(ValueError, match=f"rows 2 and {bad} hold other numbers for the same"):
        read(write(path, ["arch", "acc"], rows), space, {"acc": Metric("i", "count")})


def test_graphs_as_adjacency_and_operations(tmp_path):
    space = NASBench101()
    rng = torch.Generator().manual_seed(0)
    archs = distinct_members(space, space.sample(50, rng=rng))
    cells = [text.split(":") for text in graph_text(archs, space.op_names)]
    rows = [[bits, ops, 0.5] for ops, bits in cells]
    path = write(tmp_path / "t.csv", ["adjacency", "operations", "acc"], rows)
    assert read(path, space).archs.equal(archs).all()


def test_enas_in_halves(tmp_path):
    rows = [
        ["1 0 5 4 0 0", "- 0 11 111 1000 00100", 0.7],
        ["0 0 0 0 0 1", "- 1 00 000 0000 11111", 0.6],
    ]
    path = write(tmp_path / "t.csv", ["ops", "skips", "weight_sharing_accuracy"], rows)
    read_rows = read(path, ENAS(), columns=None)
    assert ENAS().to_text(read_rows.archs) == [f"{ops};{skips}" for ops, skips, _ in rows]
    assert read_rows.columns["cifar10/weight-sharing"].values.tolist() == [0.7, 0.6]
    rows[1][1] = "- 1 00 000 0000 1111"
    with pytest.raises(ValueError, match=r"row 2: .* is not of the form '0 0 0"):
        read(write(path, ["ops", "skips", "weight_sharing_accuracy"], rows), ENAS(), columns=None)


def test_a_number_may_be_called_ops(tmp_path):
    path = write(tmp_path / "t.csv", ["arch", "ops"], [[TEXTS[0], 12]])
    columns = {"ops": Metric("megaflops", "count")}
    assert read(path, columns=columns).columns["megaflops"].values.tolist() == [12]


def test_repeated_rows_count_once(tmp_path):
    """In which way a graph is written does not matter, nor that a number is missing."""
    space = NASBench101()
    ops = "input,conv3x3-bn-relu,conv1x1-bn-relu,output"
    same = "input,conv1x1-bn-relu,conv3x3-bn-relu,output"
    texts = [f"{ops}:0110000100010000", f"{ops}:0100001000010000", f"{same}:0110000100010000"]
    rows = [[text, 0.5, ""] for text in [texts[0], texts[1], texts[2], texts[0]]]
    columns = {"acc": Metric("toy/valid@3"), "time": Metric("toy/seconds", "seconds")}
    path = write(tmp_path / "t.csv", ["arch", "acc", "time"], rows)
    found = read(path, space, columns)
    assert space.to_text(found.archs) == texts[:2]
    assert found.columns["toy/valid@3"].values.tolist() == [0.5, 0.5]
    assert found.columns["toy/seconds"].values.isnan().all()
    for change in ([texts[2], 0.6, ""], [texts[2], 0.5, 1]):
        write(path, ["arch", "acc", "time"], [*rows[:2], change])
        with pytest.raises(ValueError, match="rows 1 and 3 hold other numbers for the same arch"):
            read(path, space, columns)
    read(path, space, ACC)  # the column that differs is not read


def test_graphs_are_simplified(tmp_path):
    space = NASBench101()
    dangling = "input,conv3x3-bn-relu,conv1x1-bn-relu,output:0101000100000000"
    kept = "input,conv3x3-bn-relu,output:011001000"
    path = write(tmp_path / "t.csv", ["arch", "acc"], [[dangling, 0.5]])
    assert space.to_text(read(path, space).archs) == [kept]


class TestErrors:
    """Each names the row and the column, in one line."""

    @pytest.mark.parametrize(
        ("cells", "unit", "match"),
        [
            (["0.5", "-0.1"], "fraction", "row 2: acc is -0.1, which is no fraction"),
            (["0.5", "1.2"], "fraction", "row 2: acc is 1.2, which is no fraction$"),
            (["0.5", "93.1"], "fraction", "row 2: .*write acc=toy/valid@3:percent"),
            (["50", "100.1"], "percent", "row 2: acc is 100.1, which is no percent"),
            (["50", "-1"], "percent", "row 2: acc is -1, which is no percent"),
            (["0.5", "0.9"], "percent", "never exceeds 1 %.*write acc=toy/valid@3$"),
            (["1", "1.5"], "count", "row 2: acc is 1.5, which is no count"),
            (["1", "-1"], "seconds", "row 2: acc is -1, which is no seconds"),
            (["1", "inf"], "number", "row 2: acc is inf, which is no number"),
            (["-0.1", "-0.6"], "estimate", "row 2: acc is -0.6, which is no estimate"),
            (["0.5", "high"], "fraction", "row 2: acc is 'high', which is not a number"),
        ],
    )
    def test_numbers(self, tmp_path, cells, unit, match):
        rows = [[text, cell] for text, cell in zip(TEXTS, cells, strict=False)]
        path = write(tmp_path / "t.csv", ["arch", "acc"], rows)
        with pytest.raises(ValueError, match=match):
            read(path, columns={"acc": Metric("toy/valid@3", unit)})

    @pytest.mark.parametrize("unit", ["number", "estimate"])
    def test_negative_where_it_makes_sense(self, tmp_path, unit):
        path = write(tmp_path / "t.csv", ["arch", "acc"], [[TEXTS[0], "-0.1"]])
        read_rows = read(path, columns={"acc": Metric("a", unit)})
        assert read_rows.columns["a"].values.item() == -0.1

    def test_unreadable_architecture(self, tmp_path):
        path = write(tmp_path / "t.csv", ["arch", "acc"], [[TEXTS[0], 0], ["nonsense", 0]])
        with pytest.raises(ValueError, match=r"row 2: .*nonsense"):
            read(path)

    @pytest.mark.parametrize(
        ("operations", "bits", "match"),
        [
            ("input,conv7x7,output", "010001000", "row 2: unknown operation 'conv7x7'"),
            ("input,conv3x3-bn-relu,output", "01000100", "row 2: .*3 x 3"),
            ("input,conv3x3-bn-relu,output", "01000100x", "row 2: .*3 x 3"),
            ("input,conv3x3-bn-relu,output", "01000100\N{DIGIT ONE}é", "row 2: .*3 x 3"),
            ("input,conv3x3-bn-relu,output", "010001010", "row 2: .*upper triangular"),
            ("input,conv3x3-bn-relu,input", "010001000", "row 2: .*not in nasbench101"),
            (",".join(["input"] * 8), "0" * 64, "row 2: 8 nodes"),
        ],
    )
    def test_impossible_matrix(self, tmp_path, operations, bits, match):
        good = ["input,maxpool3x3,output", "010001000", 0.5]
        rows = [good, [operations, bits, 0.5]]
        path = write(tmp_path / "t.csv", ["operations", "adjacency", "acc"], rows)
        with pytest.raises(ValueError, match=match):
            read(path, NASBench101())

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "needs a column 'arch'"),
            ("arch,acc\n", "a header but no rows"),
            ("arch,acc,acc\n", "two columns have the same name"),
            ("acc,other\n0.5,1\n", "needs a column 'arch'"),
            ("arch,other\nx,1\n", "no column 'acc': choose from other"),
            (f'arch,acc\n"{TEXTS[0]}",0.5,7\n', "row 1: 3 fields, the header has 2"),
            (f'arch,acc\n"{TEXTS[0]}",0.5\n"unclosed', "is damaged after row 1"),
        ],
    )
    def test_shape_of_the_file(self, tmp_path, text, match):
        path = tmp_path / "t.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=match):
            read(path)

    def test_truncated_gzip(self, file):
        data = gzip.compress(file.read_bytes())
        for size in (12, len(data) // 2, len(data) - 3):
            file.write_bytes(data[:size])
            with pytest.raises(ValueError, match="is damaged"):
                read(file)

    def test_not_text(self, file):
        file.write_bytes(b"arch,acc\n\xff\xfe\x00,1\n")
        with pytest.raises(ValueError, match="is damaged"):
            read(file)

    def test_unknown_file_needs_columns(self, file):
        with pytest.raises(ValueError, match=r"'acc' is not known for .*acc=mydata/valid@100"):
            read(file, columns=None)

    def test_two_columns_for_one_metric(self, tmp_path):
        path = write(tmp_path / "t.csv", ["arch", "a", "b"], [[TEXTS[0], 0.5, 0.5]])
        with pytest.raises(ValueError, match="the same metric"):
            read(path, columns={"a": Metric("m"), "b": Metric("m")})


class TestColumnSyntax:
    """What the command line understands."""

    @pytest.mark.parametrize(
        ("text", "column", "metric"),
        [
            ("acc=mydata/valid@100", "acc", Metric("mydata/valid@100", "fraction")),
            ("acc=mydata/valid@100:percent", "acc", Metric("mydata/valid@100", "percent")),
            ("params=parameters", "params", Metric("parameters", "count")),
            ("t=mydata/train-seconds@100", "t", Metric("mydata/train-seconds@100", "seconds")),
            ("ms=latency:number", "ms", Metric("latency", "number")),
            ("a=b=c", "a=b", Metric("c", "fraction")),
        ],
    )
    def test_valid(self, text, column, metric):
        assert parse_column(text) == (column, metric)

    @pytest.mark.parametrize("text", ["acc", "acc=", "=a/b@1", "", "acc=:percent"])
    def test_incomplete(self, text):
        with pytest.raises(ValueError, match="write COLUMN=METRIC"):
            parse_column(text)

    def test_unknown_unit(self):
        with pytest.raises(ValueError, match="unknown unit 'pct', use fraction, percent"):
            parse_column("acc=a/b@1:pct")


class TestBenchmarks:
    """The known files."""

    def test_nasbench201(self, data, tmp_path):
        space = NASBench201()
        rows = import_csv(data / "nasbench201.csv.gz", space, source="s", licence="l")
        table = Table.write(tmp_path / "t.safetensors", space, rows)
        table.verify()
        assert len(table) == 15_625
        best = {  # from the data's own description, in percent
            "cifar10-valid/valid@200": 91.6067,
            "cifar100/valid@200": 73.4933,
            "cifar100/test@200": 73.5133,
            "cifar10/test@200": 94.3733,
        }
        for name, value in best.items():
            column = table.column(name).double()
            assert round(float(column[~column.isnan()].max()) * 100, 4) == value
        with gzip.open(data / "nasbench201.csv.gz", "rt") as file:
            records = list(csv.DictReader(file))[::500]
        row = table.lookup(space.keys(space.parse([record["arch"] for record in records])))
        for source, name in (
            ("cifar10-valid_test_200", "cifar10-valid/test@200"),
            ("cifar10-valid_valid_12", "cifar10-valid/valid@12"),
            ("cifar100_valid_12", "cifar100/valid@12"),
        ):
            expected = torch.tensor([float(record[source]) / 100 for record in records])
            torch.testing.assert_close(table.column(name)[row], expected, rtol=0, atol=1e-7)
        counts = [int(record["trainable_parameters"]) for record in records]
        assert table.column("parameters")[row].tolist() == counts

    def test_enas(self, data, tmp_path):
        """19,020 rows, five of which stand there twice with the same accuracy."""
        space = ENAS()
        with gzip.open(data / "enas6.csv.gz", "rt") as file:
            records = list(csv.DictReader(file))
        expected = {
            f"{record['ops']};{record['skips']}": float(record["weight_sharing_accuracy"])
            for record in records
        }
        assert (len(records), len(expected)) == (19_020, 19_015)
        rows = import_csv(data / "enas6.csv.gz", space, source="s", licence="l")
        table = Table.write(tmp_path / "t.safetensors", space, rows)
        table.verify()
        assert (len(table), table.metrics) == (19_015, ("cifar10/weight-sharing",))
        row = table.lookup(space.keys(space.parse(list(expected))))
        values = torch.tensor(list(expected.values()))
        assert torch.equal(table.column("cifar10/weight-sharing")[row], values)
        assert len(hashing.first_of_each(table.keys)) == 19_015

    @pytest.mark.slow
    def test_nasbench101(self, data, tmp_path):
        space = NASBench101()
        rows = import_csv(data / "nasbench101.csv.gz", space, source="s", licence="l")
        table = Table.write(tmp_path / "t.safetensors", space, rows)
        table.verify()
        assert len(table) == 423_624
        assert round(float(table.column("cifar10/test@108").max()), 6) == 0.943176
        assert float(table.column("parameters").max()) == 49_979_274
        assert table.info()["measured"]["cifar10/valid-run@12"] == 10_000
        assert (table.column("cifar10/valid-emulated@108") < 0).sum() == 20

    def test_head_of_nasbench101(self, data, tmp_path):
        with gzip.open(data / "nasbench101.csv.gz", "rt") as file:
            text = [next(file) for _ in range(2001)]
        (tmp_path / "head.csv").write_text("".join(text))
        records = list(csv.DictReader(text))
        space = NASBench101()
        rows = import_csv(tmp_path / "head.csv", space, source="s", licence="l")
        texts = [f"{record['operations']}:{record['adjacency']}" for record in records]
        assert space.to_text(rows.archs) == texts
        names = {
            "test_mean_108": "cifar10/test@108",
            "valid_emulated_108": "cifar10/valid-emulated@108",
            "valid_run_12": "cifar10/valid-run@12",
            "train_seconds_108": "cifar10/train-seconds@108",
            "trainable_parameters": "parameters",
        }
        for source, name in names.items():
            expected = [float(record[source] or "nan") for record in records]
            torch.testing.assert_close(
                rows.columns[name].values, torch.tensor(expected, dtype=torch.float64),
                equal_nan=True,
            )  # fmt: skip
