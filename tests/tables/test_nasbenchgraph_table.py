"""The files of NAS-Bench-Graph: small ones written here, and the package itself if it is there."""

import pickle
import zipfile
from functools import cache
from itertools import product

import numpy as np
import pytest

from netwright.graphs import hashing
from netwright.spaces.nasbenchgraph import NASBenchGraph
from netwright.tables import nasbenchgraph
from netwright.tables.format import Table
from netwright.tables.nasbenchgraph import PACKAGE, find, import_nasbenchgraph

PROTEINS = NASBenchGraph(proteins=True)
DIGITS = {"gcn": 1, "sage": 4, "arma": 5, "fc": 7, "skip": 8}
TREES = [
    (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3),
    (0, 1, 1, 1), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3),
]  # fmt: skip


@cache
def numbered():
    """A number of the benchmark for each architecture, with its text."""
    numbers, texts = [], []
    for (tree, links), ops in product(enumerate(TREES), product(DIGITS, repeat=4)):
        numbers.append(tree * 10**4 + int("".join(str(DIGITS[op]) for op in ops)))
        texts.append(f"{','.join(map(str, links))}:{','.join(ops)}")
    archs = PROTEINS.from_text(texts)
    valid = PROTEINS.is_valid(archs).nonzero()[:, 0]
    first = valid[hashing.first_of_each(PROTEINS.keys(archs[valid]))]
    return {numbers[i]: texts[i] for i in first.tolist()}


@pytest.fixture(scope="module")
def content():
    """The proteins file as the benchmark has it, with values that say where they stand."""
    return {
        number: {
            "valid_perf": np.float64(0.5 + number / 1e6),
            "perf": 0.25 + number / 1e6,
            "latency": 0.001,
            "para": np.float64(0.5 + i * 1e-6),
        }
        for i, number in enumerate(numbered())
    }


def written(folder, content, name="proteins"):
    path = folder / "light" / f"{name}.bench"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=3))
    return path


def test_every_row_finds_its_architecture(tmp_path, content):
    rows = import_nasbenchgraph(written(tmp_path, content), PROTEINS, source="x")
    assert (len(rows.archs), rows.licence) == (2_021, "Apache-2.0")
    assert list(rows.columns) == [
        "proteins/valid",
        "proteins/test",
        "proteins/latency-seconds",
        "proteins/parameters",
    ]
    table = Table.write(tmp_path / "t.safetensors", PROTEINS, rows)
    for i, (number, text) in list(enumerate(numbered().items()))[::53]:
        row = table.lookup(PROTEINS.keys(PROTEINS.parse([text])))
        assert float(table.column("proteins/valid")[row]) == pytest.approx(0.5 + number / 1e6)
        assert float(table.column("proteins/test")[row]) == pytest.approx(0.25 + number / 1e6)
        assert float(table.column("proteins/parameters")[row]) == pytest.approx(5e5 + i)
    assert table.units["proteins/latency-seconds"] == "seconds"


def test_folder_and_wheel(tmp_path, content):
    path = written(tmp_path, content)
    wheel = tmp_path / "nas_bench_graph-1.4.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(path, "nas_bench_graph/light/proteins.bench")
        archive.writestr("nas_bench_graph/__init__.py", "raise SystemExit")
    expected = sorted(row["perf"] for row in content.values())
    for form in (tmp_path, wheel):
        found = import_nasbenchgraph(form, PROTEINS, source="x").columns["proteins/test"]
        assert found.values.sort().values.tolist() == pytest.approx(expected)


def test_the_package_is_found_but_never_imported(tmp_path, content, monkeypatch):
    package = tmp_path / "nas_bench_graph"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    written(package, content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find(PACKAGE) == package
    assert len(import_nasbenchgraph(PACKAGE, PROTEINS, source="x").archs) == 2_021


def test_a_package_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nasbenchgraph.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'netwright\[graph\]'"):
        import_nasbenchgraph(PACKAGE, PROTEINS, source="x")
    with pytest.raises(FileNotFoundError, match=r"nothing is at cora\.bench"):
        import_nasbenchgraph("cora.bench", PROTEINS, source="x")


def _without(content, name):
    return {k: {n: v for n, v in row.items() if n != name} for k, row in content.items()}


def _one(content, **changes):
    first, *others = content
    return {first: content[first] | changes} | {k: content[k] for k in others}


FAULTS = {
    "no dict": (lambda _: [1, 2], "does not map architectures"),
    "the complete benchmark": (lambda c: {k: {"dur": []} for k in c}, "'light'"),
    "no latency": (lambda c: _without(c, "latency"), "does not map architectures"),
    "too few": (lambda c: c, "20 different architectures .* in 20 rows, where 2021 are due"),
    "one network twice": (
        lambda c: c | {4111: c[1114]},
        "20 different architectures .* in 21 rows",
    ),
    "another tree": (lambda c: c | {91111: c[1111]}, "91111 is the number of no architecture"),
    "another operation": (lambda c: c | {1112: c[1111]} | {1113: c[1111]}, "no architecture"),
    "four skips": (lambda c: c | {88888: c[1111]}, "not every operation is skip"),
    "a text": (lambda c: _one(c, perf="0.9"), "a str where a number is due"),
    "percent": (lambda c: _one(c, perf=90.0), "not between 0 and 1"),
    "nan": (lambda c: _one(c, valid_perf=float("nan")), "not between 0 and 1"),
    "code": (lambda _: print, "do not trust this file"),
}


@pytest.mark.parametrize(("change", "match"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named(tmp_path, content, change, match):
    path = written(tmp_path, change(dict(list(content.items())[:20])))
    with pytest.raises(ValueError, match=match) as error:
        import_nasbenchgraph(path, PROTEINS, source="x")
    assert str(path) in str(error.value)


def test_a_truncated_file(tmp_path, content):
    path = written(tmp_path, content)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="it is damaged"):
        import_nasbenchgraph(path, PROTEINS, source="x")


def test_proteins_and_the_others_do_not_mix(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(FileNotFoundError, match="give --set proteins=true"):
        import_nasbenchgraph(path, NASBenchGraph(), source="x")
    with pytest.raises(FileNotFoundError, match="give no --set proteins"):
        import_nasbenchgraph(
            written(tmp_path, content, "cora").rename(tmp_path / "cora.bench"), PROTEINS, source="x"
        )


@pytest.fixture(scope="module")
def package():
    try:
        return find(PACKAGE)
    except FileNotFoundError:
        pytest.skip("nas-bench-graph is not installed")


def test_the_official_proteins(package, tmp_path):
    rows = import_nasbenchgraph(package, PROTEINS, source=PACKAGE)
    table = Table.write(tmp_path / "t.safetensors", PROTEINS, rows)
    assert bool((table.lookup(PROTEINS.keys(PROTEINS.enumerate())) >= 0).all())
    assert float(table.column("proteins/valid").max()) == pytest.approx(0.8533, abs=1e-4)


@pytest.mark.slow
def test_the_official_cora(package):
    space = NASBenchGraph()
    rows = import_nasbenchgraph(package / "light" / "cora.bench", space, source=PACKAGE)
    assert len(rows.archs) == 26_206
    row = rows.archs.equal(space.parse(["0,0,0,0:gat,gat,gat,gat"] * len(rows.archs)))
    assert int(row.sum()) == 1
    named = {name: float(column.values[row][0]) for name, column in rows.columns.items()}
    assert named["cora/valid"] == pytest.approx(0.7733333)
    assert named["cora/test"] == pytest.approx(0.797)
    assert named["cora/latency-seconds"] == pytest.approx(0.0059222, rel=1e-4)
