import base64
import hashlib
import json
import math
import re
import shlex
import time

import pytest
import torch
from report_samples import Page, config, initial, make_run, repeat, samples_of

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.report.page import report_html, write_report
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace, graph_text, parse_graph_text
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

HOSTILE = "</script><script>alert(1)</script>\"'&<!--\u2028é"
SCORES = [0.5 + 0.01 * (i * 7 % 40) for i in range(40)]


def page_of(*runs, space):
    return Page(report_html(runs, space))


@pytest.mark.parametrize("space", [Toy(), NASBench101(), NASBench201()], ids=lambda s: s.name)
def test_a_page_agrees_with_the_ledger(tmp_path, space):
    scores = [math.nan if i % 10 == 3 else s for i, s in enumerate(SCORES)]
    run = make_run(tmp_path / "demo", space, scores)
    rows = run.ledger.rows()
    best = run.ledger.best()
    repeat(run, space, best)
    initial(run, space, [0.4, 0.41])
    page = page_of(run, space=space)

    assert "Best score 0.8900" in page.text
    assert "Evaluations 40 of 40" in page.text
    assert "Failed 4 " in page.text
    assert "Repeats 1 free" in page.text
    assert "Known before 2" in page.text
    assert "Evaluation cost 1 min 20 s" in page.text
    assert f"(evaluation {best.index + 1}, {best.origin})" in page.text
    assert page.all("button", **{"data-copy": best.arch})

    chart = page.charts["progress"]["datasets"]
    assert len(chart["scored"]) == 36 + 2
    assert {p["evaluation"] for p in chart["failed"]} == {4, 14, 24, 34}
    assert [p["evaluation"] for p in chart["scored"] if p["origin"] == "initial"] == [0, 0]
    by_number = {row.index + 1: row for row in rows}
    for point in chart["scored"]:
        if point["origin"] != "initial":
            row = by_number[point["evaluation"]]
            assert (point["score"], point["origin"]) == (row.score, row.origin)
    curve = [(p["evaluation"], p["score"]) for p in chart["curves"]]
    values = [y for _, y in curve]
    assert values == sorted(values)
    assert [x for x, _ in curve] == sorted({x for x, _ in curve})
    assert curve[-1] == (40, best.score)
    for x, y in curve:
        assert y == max(r.score for r in rows if r.index < x and r.score is not None)

    distinct = len({row.key for row in rows if row.score is not None})
    assert len(page.all("li", **{"class": "cell"})) == min(10, distinct)
    assert len(page.all("svg")) == 1 + min(10, distinct)
    steps = page.charts["statistic 0"]["datasets"]["steps"]
    assert [(s["evaluations"], s["value"]) for s in steps] == [
        (10 * (i + 1), 1 / (i + 1)) for i in range(4)
    ]
    assert len(page.charts["generator entropy"]["datasets"]["steps"]) == 3  # one NaN left out
    assert "statistic 1" not in page.charts
    assert "4 the loss is NaN evaluations 4, 14, 24, 34" in page.text
    assert "method.explorer.model er" in page.text
    assert f"torch {torch.__version__}" in page.text


def test_the_best_ten_are_distinct_and_in_order(tmp_path):
    space = Toy()
    run = make_run(tmp_path / "demo", space, SCORES)
    page = page_of(run, space=space)
    shown = [
        b["data-copy"]
        for b in page.all("button")
        if b.get("aria-label", "").startswith("Copy: arch")
    ]
    expected = {}
    for row in sorted(run.ledger.rows(), key=lambda r: (-r.score, r.index)):
        expected.setdefault(row.key, row)
    assert shown == [row.arch for row in list(expected.values())[:10]]
    for rank, row in enumerate(list(expected.values())[:10], start=1):
        size = f"{row.extras['parameters']:,.0f}"
        assert f"{rank} {row.score:.4f} {size} 2.00 {row.index + 1} {row.origin}" in page.text


def test_commands_can_be_pasted(tmp_path):
    run = make_run(tmp_path / "my run's", NASBench201(), SCORES)
    page = page_of(run, space=NASBench201())
    lines = [
        shlex.split(b["data-copy"])
        for b in page.all("button")
        if "netwright " in b.get("data-copy", "")
    ]
    folder = str(run.folder)
    assert ["netwright", "resume", folder, "--budget", "80"] in lines
    assert ["netwright", "sample", folder, "-n", "16"] in lines
    assert ["netwright", "train", folder] in lines
    assert ["netwright", "export", folder, "--format", "python"] in lines
    unfinished = make_run(tmp_path / "b", Toy(), SCORES[:9], settings=config("toy", 40))
    page = page_of(unfinished, space=Toy())
    assert page.all("button", **{"data-copy": f"netwright resume {unfinished.folder}"})


def test_a_run_made_in_python_needs_no_configuration(tmp_path):
    page = page_of(make_run(tmp_path / "a", Toy(), [0.5], settings={}), space=Toy())
    assert "A search on the toy space" in page.text
    assert "netwright resume" not in page.text
    bare = {"space": "toy", "method": "random", "evaluator": "mine.py:E", "budget": 1, "seed": 3}
    page = page_of(make_run(tmp_path / "b", Toy(), [0.5], settings=bare), space=Toy())
    assert "Random search on the toy space" in page.text
    assert "scored by mine.py:E, seed 3" in page.text


class Hostile(SearchSpace):
    name = HOSTILE
    op_names = ("input", HOSTILE.replace(",", ""), "output")
    layout = Layout.make(3, 3)

    def sample(self, n, *, rng):
        del rng
        adj = torch.ones(n, 3, 3, dtype=torch.bool).triu(1)
        return ArchitectureBatch(torch.arange(3).repeat(n, 1), adj, torch.full((n,), 3))

    def neighbours(self, arch):
        return arch[:0]

    def to_text(self, archs):
        return graph_text(archs, self.op_names)

    def from_text(self, texts):
        return parse_graph_text(texts, self.op_names, 3)


@pytest.mark.parametrize("several", [False, True])
def test_hostile_names_stay_text(tmp_path, several):
    space = Hostile()
    settings = config(space=HOSTILE, budget=2) | {HOSTILE: HOSTILE, "method": {"name": HOSTILE}}
    run = make_run(
        tmp_path / "<b>&'run\"",
        space,
        [0.5, math.nan],
        settings=settings,
        origins=[HOSTILE, HOSTILE],
        extras={HOSTILE: torch.ones(2)},
        errors=[None, HOSTILE],
    )
    final = [{"name": HOSTILE, "arch": HOSTILE, "metrics": {HOSTILE: 0.5}, "seeds": 1}]
    (run.folder / "final.json").write_text(json.dumps(final), encoding="utf-8")
    samples_of(space, [HOSTILE, None]).write(run.folder)
    another = make_run(
        tmp_path / '<i>&"',
        space,
        [0.5, 0.4],
        settings=settings | {"method": {"name": HOSTILE, HOSTILE: HOSTILE}},
        origins=[HOSTILE, "b"],
        extras={HOSTILE: torch.ones(2)},
    )
    html = report_html([run, another] if several else [run], space)
    page = Page(html)
    for part in ("Operations and edges over time", "Clustering and path length", "Samples at"):
        assert part in page.text
    assert ("How one sample came to be" in page.text) != several
    assert len(page.all("script")) == 3  # the data, the library, the page's own
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    start = html.index('<script type="application/json"')
    block = html[start : html.index("</script>", start)]
    assert HOSTILE not in html
    assert "<!--" not in html
    assert "alert(1)</script" not in block
    if not several:
        point = page.charts["progress"]["datasets"]["scored"][0]
        assert point["origin"] == HOSTILE
    assert HOSTILE.replace("\u2028", " ") in page.text


def test_the_page_needs_no_network_and_runs_its_own_scripts_only(tmp_path):
    html = report_html([make_run(tmp_path / "a", Toy(), SCORES)], Toy())
    page = Page(html)
    assert not [a for _, attrs in page.tags for a in attrs if a in ("src", "srcset", "poster")]
    links = [attrs["href"] for _, attrs in page.tags if "href" in attrs]
    assert all(link.startswith("data:") for link in links)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in json.dumps(page.charts)
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:; style-src 'unsafe-")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy["content"]))
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    hashes = {
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    }
    assert len(scripts) == 2
    assert allowed == hashes


def test_an_empty_ledger(tmp_path):
    page = page_of(make_run(tmp_path / "a", Toy(), [], settings=config("toy")), space=Toy())
    assert "0 of 40 evaluations" in page.text
    assert "Nothing has been evaluated yet." in page.text
    assert page.charts == {}
    assert not page.all("svg")


def test_what_was_stopped_early_did_not_fail(tmp_path):
    errors = [None, "stopped after 12 epochs", "a", "stopped after 12 epochs"]
    run = make_run(tmp_path / "a", Toy(), [0.5, math.nan, math.nan, math.nan], errors=errors)
    page = page_of(run, space=Toy())
    assert "Failed 1 " in page.text
    assert "Stopped early 2 " in page.text
    assert "failed 1, stopped 2" in page.text
    assert "1 evaluation of 4 failed" in page.text
    assert len(page.charts["progress"]["datasets"]["failed"]) == 3


def test_only_failures(tmp_path):
    run = make_run(tmp_path / "a", Toy(), [math.nan] * 3, errors=["b", "a", "a"])
    page = page_of(run, space=Toy())
    assert "None has succeeded." in page.text
    assert "3 evaluations of 3 failed" in page.text
    assert "2 a evaluations 2, 3 1 b evaluation 1" in page.text  # the most frequent first
    assert page.charts["progress"]["datasets"]["curves"] == []
    assert not page.all("svg")


@pytest.mark.parametrize("score", [0.5, 0.0, -3.0, 1e30, math.inf, -math.inf])
def test_a_single_evaluation_of_any_size(tmp_path, score):
    page = page_of(make_run(tmp_path / "a", Toy(), [score]), space=Toy())
    assert "The best architecture" in page.text
    assert len(page.all("li", **{"class": "cell"})) == 1
    assert len(page.charts["progress"]["datasets"]["curves"]) == math.isfinite(score)


def test_outliers_are_out_of_view_and_counted(tmp_path):
    scores = [0.1, 0.1, *[0.9 + 0.001 * i for i in range(38)]]
    page = page_of(make_run(tmp_path / "a", NASBench201(), scores), space=NASBench201())
    assert "2 lower scores out of view." in page.text
    assert "show all scores" in page.text
    even = page_of(make_run(tmp_path / "b", NASBench201(), SCORES), space=NASBench201())
    assert "out of view" not in even.text
    assert "show all scores" not in even.text


def test_a_page_needs_a_run():
    with pytest.raises(ValueError, match="at least one run"):
        report_html([], Toy())


def test_retrained_architectures_are_compared(tmp_path):
    run = make_run(tmp_path / "a", Toy(), SCORES)
    assert "Retrained" not in page_of(run, space=Toy()).text
    entries = [
        {"name": "best", "arch": "x", "metrics": {"test accuracy": 0.9836, "size": 9}, "seeds": 3},
        {"name": "random", "arch": "y", "metrics": {"test accuracy": None}},
    ]
    (run.folder / "final.json").write_text(json.dumps(entries))
    text = page_of(run, space=Toy()).text
    assert "best 0.9836 9 3 random – – 1" in text  # noqa: RUF001 (the dash for no value)
    for damaged in ("[", "[1]", '[{"name": "best"}]', '{"a": 1}'):
        (run.folder / "final.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"final\.json is damaged"):
            report_html([run], Toy())


def test_a_ledger_of_another_space_still_makes_a_page(tmp_path):
    page = page_of(make_run(tmp_path / "a", NASBench201(), SCORES), space=Toy())
    assert page.text.count("This architecture cannot be drawn") == 11
    assert "The ledger's architectures cannot be read" in page.text
    assert "Best score 0.8900" in page.text


def test_ten_thousand_evaluations(tmp_path):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(10_000, generator=generator).tolist()
    run = make_run(tmp_path / "a", NASBench201(), scores)
    start = time.process_time()
    path = write_report([run], NASBench201(), tmp_path / "report.html")
    assert time.process_time() - start < 20  # two on an idle machine, without run-time type checks
    assert path.stat().st_size < 5_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert "Evaluations 10,000 of 10,000" in page.text
    assert "One proposal in 3 is drawn" in page.text
    data = page.charts["progress"]["datasets"]
    assert 3000 < len(data["scored"]) < 5000
    drawn = {p["evaluation"] for p in data["scored"]}
    assert {p["evaluation"] for p in data["curves"][:-1]} <= drawn


def test_a_page_is_written_where_it_is_asked_for(tmp_path):
    run = make_run(tmp_path / "a", Toy(), SCORES)
    path = tmp_path / "out.html"
    assert write_report([Run.open(run.folder)], Toy(), path) == path
    assert path.read_text(encoding="utf-8") == report_html([run], Toy())
