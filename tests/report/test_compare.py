import math

import pytest
import torch
from report_samples import Page, config, make_run, samples_of
from scipy import stats

from netwright.report import words
from netwright.report.compare import mean_and_sd, mean_curve
from netwright.report.methods import methods
from netwright.report.page import report_html
from netwright.report.summary import Summary
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

SCORES = [0.5 + 0.01 * (i * 7 % 40) for i in range(40)]


def run_of(folder, seed, method="graphpnas", scores=SCORES, space=None, **options):
    space = space or NASBench201()
    settings = config(space.name, len(scores), method={"name": method, **options}, seed=seed)
    return make_run(folder, space, scores, settings=settings)


@pytest.fixture
def six(tmp_path):
    return [
        run_of(
            tmp_path / f"{method}-{seed}", seed, method, [s - offset - seed / 100 for s in SCORES]
        )
        for method, offset in (("graphpnas", 0.0), ("random", 0.05))
        for seed in range(3)
    ]


def test_runs_that_differ_in_their_seed_are_one_method(six):
    found = methods([Summary.of(run) for run in six])
    assert [(m.label, len(m.runs)) for m in found] == [("GraphPNAS", 3), ("Random search", 3)]
    assert len({m.colour for m in found}) == 2
    assert methods([Summary.of(six[0])])[0].runs[0].name == "graphpnas-0"


def test_methods_of_one_name_are_told_apart(tmp_path):
    runs = [run_of(tmp_path / f"a{h}", 0, hidden=h) for h in (8, 16)]
    bare = [make_run(tmp_path / name, Toy(), SCORES, settings={}) for name in ("x", "y")]
    found = methods([Summary.of(run) for run in [*runs, *bare]])
    labels = [m.label for m in found]
    assert labels == ["GraphPNAS, hidden 8", "GraphPNAS, hidden 16", "x", "y"]
    assert len(set(labels)) == 4


def test_the_mean_curve_and_its_confidence(six):
    runs = [Summary.of(run) for run in six[:3]]
    at, values = mean_curve(runs)
    assert at.tolist() == list(range(1, 41))
    for i in (0, 17, 39):
        best = [max(r.score for r in run.rows[: i + 1]) for run in runs]
        mean, sd = sum(best) / 3, torch.tensor(best, dtype=torch.double).std()
        low, high = stats.t.interval(0.95, 2, loc=mean, scale=float(sd) / math.sqrt(3))
        assert values[i].tolist() == pytest.approx([mean, low, high], rel=1e-5)


def test_the_mean_curve_lasts_while_all_runs_do(tmp_path):
    long = run_of(tmp_path / "a", 0, scores=[math.nan, 0.1, *SCORES])
    short = run_of(tmp_path / "b", 1, scores=SCORES[:20])
    at, _ = mean_curve([Summary.of(long), Summary.of(short)])
    assert (at[0], at[-1]) == (2, 20)
    failed = run_of(tmp_path / "c", 2, scores=[math.nan] * 3)
    for runs in ([long], [long, failed]):
        assert len(mean_curve([Summary.of(run) for run in runs])[0]) == 0


def test_a_comparison_page(six):
    samples_of(NASBench201(), ["a", "b", "c", None]).write(six[0].folder)
    page = Page(report_html(six, NASBench201()))
    assert "6 runs on NAS-Bench-201" in page.text
    data = page.charts["progress"]["datasets"]
    assert {p["run"] for p in data["curves"]} == {run.folder.name for run in six}
    assert len({p["colour"] for p in data["curves"]}) == 2
    for run in six:
        ends = [p["score"] for p in data["curves"] if p["run"] == run.folder.name]
        assert ends[-1] == run.ledger.best().score
    assert data["means"][-1]["low"] < data["means"][-1]["score"] < data["means"][-1]["high"]
    for label, seeds in (("GraphPNAS", six[:3]), ("Random search", six[3:])):
        best = torch.tensor([run.ledger.best().score for run in seeds], dtype=torch.double)
        ends = f"{best.mean():.4f} ± {best.std():.4f} {best.min():.4f} {best.max():.4f}"
        assert f"{label} 3 40 {ends}" in page.text
    cells = page.all("li", **{"class": "cell"})
    assert len(cells) == 18
    assert "The three best of each run" in page.text
    assert {s["run"] for s in page.charts["statistic 0"]["datasets"]["steps"]} == {
        run.folder.name for run in six
    }
    assert "How one sample" not in page.text


def test_methods_without_seeds_have_strong_lines_and_no_band(tmp_path):
    runs = [run_of(tmp_path / name, 0, name) for name in ("graphpnas", "random")]
    data = Page(report_html(runs, NASBench201())).charts["progress"]["datasets"]
    assert data["means"] == []
    assert all(point["strong"] for point in data["curves"])


def test_many_runs_are_drawn_by_method(tmp_path):
    runs = [run_of(tmp_path / f"r{i}", i, scores=SCORES[:10], space=Toy()) for i in range(13)]
    page = Page(report_html(runs, Toy()))
    assert "The three best of each method" in page.text
    assert len(page.all("li", **{"class": "cell"})) == 3


def test_the_share_of_dense_graphs_stands_with_the_best(tmp_path):
    space = NASBench101()
    runs = [run_of(tmp_path / f"r{i}", i, space=space) for i in range(2)]
    samples_of(space, ["a", "b", "c", "d", None]).write(runs[0].folder)
    page = Page(report_html(runs, space))
    assert "Of its generator's valid samples, 50% are dense." in page.text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], words.DASH),
        ([math.nan], words.DASH),
        ([0.5], "0.5000"),
        ([0.5, 0.6], "0.5500 ± 0.0707"),
        ([2e6, 4e6], "3,000,000 ± 1,414,214"),
    ],
)
def test_mean_and_sd(values, text):
    assert mean_and_sd(values) == text


def test_runs_without_results_make_a_page(tmp_path):
    runs = [run_of(tmp_path / "a", 0, scores=[]), run_of(tmp_path / "b", 1, scores=[])]
    assert "Nothing has been evaluated yet." in Page(report_html(runs, NASBench201())).text
    runs = [run_of(tmp_path / name, i, scores=[math.nan]) for i, name in enumerate("cd")]
    page = Page(report_html(runs, NASBench201()))
    assert page.charts["progress"]["datasets"] == {"curves": [], "means": []}
