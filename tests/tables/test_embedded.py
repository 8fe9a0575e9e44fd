"""The table of the package is found by its name wherever a table's file is."""

import tomllib
from pathlib import Path

import pytest
import torch

import netwright
from netwright.reproductions.experiment import Benchmark, find_table
from netwright.spaces.toy import Toy
from netwright.tables import embedded
from netwright.tables.embedded import EMBEDDED, embedded_path, located
from netwright.tables.format import Column, Rows, Table

NAME = "nasbench101-digits"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A package whose tables are other ones, and a folder to be in."""
    monkeypatch.setattr(embedded, "files", lambda package: tmp_path / package)
    (tmp_path / "netwright" / "data").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def write(path, score):
    archs = Toy().enumerate()[:2]
    Table.write(path, Toy(), Rows(archs, {"score": Column(torch.full((2,), score))}, "", ""))
    return path


def test_the_package_has_it_where_it_is_looked_for():
    path = embedded_path()
    assert path == Path(netwright.__file__).parent / "data" / f"{NAME}.safetensors"
    project = Path(netwright.__file__).parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("installed, not a checkout")
    settings = tomllib.loads(project.read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["netwright"]
    assert any(path.relative_to(path.parents[1]).match(pattern) for pattern in patterns)


def test_a_table_opens_by_its_name(folder):
    path = write(folder / "netwright" / "data" / f"{NAME}.safetensors", 0.5)
    assert Table.open(NAME).path == Table.open(Path(NAME)).path == path
    assert located(NAME) == path


def test_a_file_of_that_name_wins(folder):
    write(folder / "netwright" / "data" / f"{NAME}.safetensors", 0.5)
    write(folder / "here" / NAME, 0.25)
    assert float(Table.open(NAME).column("score")[0]) == 0.25


def test_other_names_are_files():
    assert located("x.safetensors") == Path("x.safetensors")
    with pytest.raises(FileNotFoundError, match="no table at nasbench102"):
        Table.open("nasbench102")
    with pytest.raises(ValueError, match=f"no table 'x' in the package: it has {NAME}"):
        embedded_path("x")
    assert EMBEDDED == (NAME,)


def test_experiments_find_it_too(folder):
    path = write(folder / "netwright" / "data" / f"{NAME}.safetensors", 0.5)
    benchmark = Benchmark(name="b", space="toy", table=NAME, metric="score", budgets=(1,),
                          report={"best accuracy": "score"})  # fmt: skip
    assert find_table(benchmark, Path("tables")) == path
    own = write(folder / "here" / NAME, 0.25)
    assert find_table(benchmark, folder / "here") == own
