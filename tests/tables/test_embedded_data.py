"""The benchmark in the package: complete, small, and what it says it is."""

import json

import pytest
import torch

from netwright.images.digits import digits
from netwright.networks.cost import count_parameters
from netwright.networks.nasbench101 import nasbench101_network
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.build import seed_agreement
from netwright.tables.embedded import embedded_path
from netwright.tables.format import Table

SPACE = NASBench101(max_nodes=5)


@pytest.fixture(scope="module")
def table():
    return Table.open("nasbench101-digits")


def test_it_is_intact_and_below_a_mebibyte(table):
    table.verify()
    assert table.path == embedded_path()
    assert table.path.stat().st_size < 1 << 20
    assert table.licence == "Apache-2.0"


def test_it_has_every_cell_of_five_nodes_once(table):
    table.require(SPACE)
    rows = table.lookup(SPACE.keys(SPACE.enumerate()))
    assert len(table) == SPACE.size == 2532
    assert sorted(rows.tolist()) == list(range(2532))


def test_every_metric_of_every_cell_was_measured(table):
    seeds = ["", "-seed0", "-seed1", "-seed2"]
    accuracies = [f"digits/{split}{seed}@12" for split in ("valid", "test") for seed in seeds]
    others = {
        "digits/train-seconds@12": "seconds",
        "digits/train-loss@12": "number",
        "parameters": "count",
    }
    assert table.units == dict.fromkeys(accuracies, "fraction") | others
    for name in table.metrics:
        assert table.column(name).isfinite().all(), name
    for name in accuracies:
        assert ((table.column(name) >= 0) & (table.column(name) <= 1)).all()
    assert table.column("digits/train-seconds@12").min() > 0


def test_means_are_those_of_the_seeds(table):
    for split in ("valid", "test"):
        each = torch.stack([table.column(f"digits/{split}-seed{seed}@12") for seed in range(3)])
        torch.testing.assert_close(table.column(f"digits/{split}@12"), each.mean(dim=0))


def test_parameters_are_those_of_the_networks(table):
    data = digits()
    for row in range(0, 2532, 211):
        arch = table.archs(torch.tensor([row]))
        with torch.device("meta"):
            model = nasbench101_network(
                arch, in_channels=data.channels, num_classes=data.num_classes, preset="small"
            )
        assert table.column("parameters")[row] == count_parameters(model)


def test_seeds_agree_on_what_is_good(table):
    """It measures architectures and not chance."""
    for metric in ("digits/valid@12", "digits/test@12"):
        assert min(seed_agreement(table)[metric]["kendall_tau"]) > 0.5


def test_a_search_in_it_by_name(tmp_path, monkeypatch, capsys):
    from netwright.cli.app import main

    monkeypatch.chdir(tmp_path)
    command = "netwright search --method random"  # in the table's space
    command += " --table nasbench101-digits --metric digits/valid@12 --extra digits/test@12"
    monkeypatch.setattr("sys.argv", [*command.split(), "--budget", "20", "--json", "--quiet"])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    best = json.loads(capsys.readouterr().out.splitlines()[-1])["best"]
    assert best["score"] > 0.7
    assert best["extras"]["digits/test@12"] > 0.7
