"""The commands as a user types them, in this process."""

import json
import re

import pytest

from netwright.runs.run import Run

FAST = ["--set", "evaluator.epochs=2", "--batch-size", "2", "--quiet"]


@pytest.fixture
def table(run, tmp_path):
    """A table of the whole toy space: the score is the share of conv3x3."""
    ops = ("identity", "conv1x1", "conv3x3")
    _, out, _ = run("space", "enumerate", "toy", "--out", "toy.txt", "--json")
    assert json.loads(out)["count"] == 27
    texts = [line.split(" ")[1] for line in (tmp_path / "toy.txt").read_text().splitlines()]
    shares = [(text, text.count(ops[2]) / 3, 100 * text.count(ops[1]) / 3) for text in texts]
    rows = [f'"{text}",{good:.4f},{other:.4f}' for text, good, other in shares]
    (tmp_path / "toy.csv").write_text("arch,good,other\n" + "\n".join(rows))
    columns = ["--column", "good=mine/valid@1", "--column", "other=mine/test@1:percent"]
    code, out, err = run("table", "import", "toy.csv", "--space", "toy", *columns, "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 27
    return "toy.safetensors"


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in (
        "quickstart",
        "search",
        "resume",
        "report",
        "sample",
        "evaluate",
        "train",
        "export",
        "experiment",
        "reproduce",
        "space",
        "table",
    ):
        assert re.search(rf"^│ {command} ", out, re.MULTILINE), command


def test_space_commands(run, tmp_path):
    code, out, _ = run("space", "info", "nasbench101", "--json")
    assert (code, json.loads(out)["size"]) == (0, 423_624)
    code, out, _ = run("space", "list", "--json")
    sizes = {row["name"]: row["size"] for row in json.loads(out)}
    assert (sizes["nasbench201"], sizes["enas"]) == (15_625, 6**6 * 2**15)
    code, out, _ = run("space", "enumerate", "nasbench101", "--set", "max_nodes=4", "--json")
    found = json.loads(out)
    assert (found["count"], found["by_nodes"]) == (91, {"2": 1, "3": 6, "4": 84})
    assert found["seconds"] > 0
    code, _, err = run("space", "draw", "nasbench101", "input,conv3x3-bn-relu,output:010001000")
    assert code == 0, err
    assert (tmp_path / "architecture.svg").read_text().startswith("<svg")


def test_search_resume_report_and_sample_on_a_table(run, table, tmp_path):
    given = [
        "--space",
        "toy",
        "--table",
        table,
        "--metric",
        "mine/valid@1",
        "--extra",
        "mine/test@1",
    ]
    code, out, err = run(
        "search", *given, "--method", "random", "--budget", 9, "--run", "r", "--json"
    )
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert last["evaluations"] == 9
    rows = Run.open(tmp_path / "r").ledger.rows()
    best = max(rows, key=lambda row: (row.score, -row.index))
    assert last["best"]["arch"] == best.arch
    assert last["best"]["score"] == pytest.approx(best.arch.count("conv3x3") / 3, abs=1e-4)
    assert last["best"]["extras"]["mine/test@1"] == pytest.approx(
        best.arch.count("conv1x1") / 3, abs=1e-4
    )
    code, out, err = run("resume", "r", "--budget", 30, "--json")
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert last["evaluations"] == 27, "the space has no more"
    assert last["best"]["score"] == 1.0
    page = (tmp_path / "r" / "report.html").read_text()
    assert last["best"]["arch"] in page
    code, out, err = run("sample", "r", "-n", 5, "--json")
    assert len(json.loads(out)["archs"]) == 5, err


def test_search_from_a_file_with_options_that_win(run, table, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'space = "toy"\nmethod = "random"\nbudget = 4\n'
        f'[evaluator]\nname = "table"\npath = "{table}"\nmetric = "mine/valid@1"\n'
    )
    code, out, err = run("search", "c.toml", "--budget", 6, "--seed", 3, "--json", "--quiet")
    assert (code, err) == (0, "")
    folder = tmp_path / json.loads(out)["run"]
    opened = Run.open(folder)
    assert (opened.config["budget"], opened.config["seed"]) == (6, 3)
    assert opened.ledger.count() == 6


def test_graphpnas_trains_candidates(run):
    small = ["--set", "method.hidden=8", "--set", "method.rounds=1", "--set", "method.epochs=2"]
    code, out, err = run(
        "search", "--space", "toy", "--budget", 4, "--run", "r", *small, *FAST, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["evaluations"] == 4
    code, out, err = run("sample", "r", "-n", 3)
    assert len(out.splitlines()) == 3, err


def test_evaluate_and_train_one_architecture(run, tmp_path):
    arch = "input,conv3x3-bn-relu,output:010001000"
    epochs = ["--set", "evaluator.epochs=2"]
    code, out, err = run("evaluate", arch, "--space", "nasbench101", *epochs, "--json")
    facts = json.loads(out)
    assert code == 0, err
    assert 0 < facts["score"] < 1
    assert facts["error"] is None
    code, again, _ = run("evaluate", arch, "--space", "nasbench101", *epochs, "--json")
    assert json.loads(again)["score"] == facts["score"]
    out_file = tmp_path / "w.safetensors"
    code, out, err = run(
        "train",
        arch,
        "--space",
        "nasbench101",
        "--epochs",
        2,
        "--out",
        out_file,
        "--json",
        "--quiet",
    )
    assert code == 0, err
    trained = json.loads(out)
    assert trained["test_accuracy"] > 0.3, "ten classes"
    from safetensors import safe_open

    with safe_open(out_file, "pt") as file:
        assert file.metadata()["arch"] == arch
        assert float(file.metadata()["test_accuracy"]) == trained["test_accuracy"]
        assert any("classifier" in key for key in file.keys())  # noqa: SIM118 (not a dict)


def test_the_quickstart_searches_trains_and_compares(run, monkeypatch, tmp_path):
    from netwright.cli import quickstart

    small = quickstart.CONFIG["method"] | {"hidden": 8, "rounds": 1, "epochs": 1}
    changes = {
        "method": small,
        "evaluator": {"name": "train", "dataset": "digits", "epochs": 1},
        "budget": 3,
        "batch_size": 2,
        "workers": 1,
    }
    monkeypatch.setattr(quickstart, "CONFIG", quickstart.CONFIG | changes)
    monkeypatch.setattr(quickstart, "SEEDS", 2)
    code, out, err = run("quickstart", "--json")
    assert code == 0, err
    best, chance = json.loads((tmp_path / "runs/quickstart/final.json").read_text())
    assert best["arch"] == json.loads(out)["best"]["arch"]
    assert (best["name"], chance["name"], best["seeds"]) == ("best", "random", 2)
    assert 0 < best["metrics"]["test accuracy"] <= 1
    page = (tmp_path / "runs/quickstart/report.html").read_text()
    assert chance["name"] in page
    before = (tmp_path / "runs/quickstart/final.json").stat().st_mtime_ns
    code, _, err = run("quickstart", "--quiet")
    assert code == 0, err
    assert (tmp_path / "runs/quickstart/final.json").stat().st_mtime_ns == before, (
        "nothing is redone"
    )


def test_table_commands(run, table):
    code, out, _ = run("table", "info", table, "--verify", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["space"], facts["rows"], facts["verified"]) == ("toy", 27, True)
    assert facts["metrics"] == ["mine/valid@1", "mine/test@1"]
    code, out, _ = run("table", "query", table, "--best", "mine/valid@1", "--json")
    assert json.loads(out)[0]["mine/valid@1"] == 1.0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["search", "--space", "darts"], 2, "unknown space 'darts': use one of"),
        (["search", "--space", "toy", "--method", "x"], 2, "method: unknown method 'x'"),
        (
            ["search", "--space", "toy", "--dataset", "folder:absent"],
            1,
            "there is no folder absent",
        ),
        (["search", "--space", "toy", "--table", "absent"], 2, "metric: Field required"),
        (["search", "--space", "toy", "--set", "budget"], 2, "--set takes KEY=VALUE, not 'budget'"),
        (["search", "--space", "toy", "--set", "budget=-1"], 2, "budget: "),
        (["search", "absent.toml"], 1, "absent.toml"),
        (["resume", "absent"], 2, "absent is not a run folder"),
        (["report", "absent"], 2, "absent is not a run folder"),
        (["evaluate", "junk", "--space", "nasbench101"], 2, "unknown operation 'junk'"),
        (
            ["evaluate", "input,conv3x3-bn-relu,output:000101000", "--space", "nasbench101"],
            2,
            "a cycle",
        ),
        (["space", "enumerate", "nasbench101", "--set", "max_nodes=1"], 2, "a cell has 2 nodes"),
        (["space", "enumerate", "enas", "--quiet"], 2, "too many to list: use at most 4 layers"),
        (["space", "info", "enas", "--set", "layers=0"], 2, "at least 1 layer"),
        (["table", "info", "absent.safetensors"], 1, "absent.safetensors"),
        (["table", "query", "absent.safetensors"], 1, "absent.safetensors"),
    ],
)
def test_errors_are_one_line_with_the_remedy(run, tmp_path, args, code, message):
    before = sorted(tmp_path.rglob("*"))
    got, out, err = run(*args)
    assert got == code, err
    assert err.startswith("error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before, "a wrong call leaves nothing behind"


def test_a_used_run_folder_is_refused(run, table):
    given = [
        "search",
        "--space",
        "toy",
        "--table",
        table,
        "--metric",
        "mine/valid@1",
        "--method",
        "random",
    ]
    assert run(*given, "--budget", 3, "--run", "r")[0] == 0
    code, _, err = run(*given, "--budget", 3, "--run", "r")
    assert code == 1
    assert "r is not empty: resume the run in it" in err


def test_an_interrupt_says_how_to_go_on(run, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("netwright.cli.runs.RunConfig.parse", interrupted)
    monkeypatch.setattr("netwright.cli.runs.merge", lambda *_: interrupted())
    code, _, err = run("search", "--space", "toy")
    assert code == 130
    assert "netwright resume" in err
