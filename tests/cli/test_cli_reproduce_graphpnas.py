"""`netwright reproduce graphpnas`: items whose searches train networks, at the smallest scale."""

import json

import pytest

from netwright.cli.graphpnas import ITEMS

SMOKE = ["--scale", "smoke", "--set", "device=cpu"]


def reproduced(run, tmp_path, item, *more):
    words = ["reproduce", "graphpnas", item, "--json", "--quiet", "--out", "r", *SMOKE, *more]
    code, out, err = run(*words)
    assert (code, err) == (0, ""), err
    found = json.loads((tmp_path / "r.json").read_text())
    assert json.loads(out)["rows"] == found["rows"]
    return found


def test_rows_are_chosen_and_found_again(run, tmp_path):
    more = ["--only", "ER-TopK", "--seeds", "1"]
    found = reproduced(run, tmp_path, "table1", *more)
    here = [row for row in found["rows"] if row["preset"] is None]
    assert {row["method"] for row in here} == {"ER-TopK"}
    assert {row["benchmark"] for row in here} == {"randwire-4/digits (8x8)"}
    metrics = list(dict.fromkeys(row["metric"] for row in here))
    assert metrics[0] == "test accuracy, mean of the samples"
    assert "test accuracy, ensemble of the samples" in metrics
    assert found["command"].endswith(
        "table1 --seeds 1 --only ER-TopK --scale smoke --set device=cpu"
    )
    assert found["chart"] == "r.svg"
    assert (tmp_path / "runs/graphpnas-randwire-smoke").is_dir()
    again = reproduced(run, tmp_path, "table1", *more)  # all is on disk, its seconds too
    assert again["rows"] == found["rows"]
    _, _, err = run("reproduce", "graphpnas", "table1", "--out", "r", *SMOKE, *more)
    progress = [line for line in err.splitlines() if "trainings and scores" in line]
    assert progress
    assert not any("left" in line for line in progress)  # no pace of what was not worked for
    shown = run("report", *list(tmp_path.glob("runs/*/*/er-topk*/search")), "--out", "page.html")
    assert shown[0] == 0, shown
    assert "ER-TopK" in (tmp_path / "r.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("item", ITEMS)
def test_every_item(run, tmp_path, item):
    found = reproduced(run, tmp_path, item, "--seeds", "1", "--workers", "2")
    here = [row for row in found["rows"] if row["preset"] is None]
    assert here
    assert found["seeds"] == [0]
    quoted = [row for row in found["rows"] if row["preset"] == "quoted"]
    assert bool(quoted) == item.startswith("table")
    assert all(row["paper"] is not None for row in quoted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table1", "--scale", "paper"], "give --data tiny-imagenet:PATH"),
        (["table3", "--scale", "paper"], "give --data cifar10:PATH"),
        (["table2", "--seeds", "0"], "--seeds must be at least 1"),
        (["table1", "--set", "epochs=3"], "--set epochs: table1 takes device only"),
        (["table1", "--only", "Transformer"], "no row has 'Transformer' in its name: use ER-TopK"),
        (["fig3", "--data", "cifar10:nowhere"], "nowhere"),
        (["table4", "--data", "digits"], "--set and --data are for svge, and items of graphpnas"),
        (["table7"], "GraphPNAS has no 'table7' here: use one of table4, table5, fig2, table1"),
    ],
)
def test_bad_input_is_one_line(run, words, message):
    code, out, err = run("reproduce", "graphpnas", "--scale", "smoke", *words)
    assert code == (1 if "nowhere" in message else 2), err
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
