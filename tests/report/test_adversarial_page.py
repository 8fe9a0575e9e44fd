"""The page of an adversarial fit: what it says is what was measured, and it says it legibly."""

import math
from dataclasses import replace

import pytest
import torch
import vl_convert
from report_samples import Page

from netwright import metrics
from netwright.config.adversarial import (
    AdversarialConfig,
    load_adversary,
    load_valuer,
    make_adversarial_fit,
    read_split,
)
from netwright.generators.random_graph import RandomGraph
from netwright.generators.relaxed import Relaxed
from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.report import adversarial_charts as charts
from netwright.report.adversarial import adversarial_html, write_adversarial_report
from netwright.report.adversarial_views import Judged, Measured, Spread
from netwright.reproductions.adversarial_page import (
    PUBLISHED,
    adversarial_page,
    all_convolutions,
    drawn,
)
from netwright.reproductions.generated import Yardstick, measure
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.format import Column, Rows, Table

SPACE = NASBench101()
METRIC, OTHER = "cifar10/test@108", "cifar10/valid@108"
N = 300


def write(folder):
    """Cells with made-up accuracies, whose best are those of many convolutions."""
    convolutions = all_convolutions(SPACE)
    archs = ArchitectureBatch.cat(
        [
            drawn(convolutions, SPACE.layout, 400, rng=stream(0, "strong")),
            SPACE.sample(500, rng=stream(0, "table")),
        ]
    )
    archs = archs[SPACE.is_valid(archs)]
    archs = archs[hashing.first_of_each(SPACE.keys(archs))]
    score = 0.6 + 0.05 * (archs.ops == 2).sum(dim=1) + torch.arange(len(archs)) / 1e5
    score[5] = torch.nan
    rows = {
        METRIC: Column(score),
        OTHER: Column(1.4 - score),
        "parameters": Column(1000.0 * torch.arange(len(archs)).double(), "count"),
    }
    return Table.write(folder / "t.safetensors", SPACE, Rows(archs, rows, "made", "none"))


def fitted(folder, table, **recipe):
    config = AdversarialConfig.parse(
        {
            "space": "nasbench101",
            "method": {"name": "gnn2gnn", "hidden": 8},
            "data": {"table": str(table.path), "metric": METRIC},
            "recipe": {"graphs": 320, "batch_size": 16, "period": 32, "strong": 0.3} | recipe,
        }
    )
    run = FitRun.create(folder, config.resolved())
    for _ in run.execute(make_adversarial_fit([config])):
        pass
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adversarial")
    table = write(folder)
    run = fitted(folder / "fit", table)
    config = AdversarialConfig.parse(run.config)
    archs = load_adversary(config, run.state()).sample(N, rng=stream(0, "report/adversarial"))
    page = adversarial_page(run, n=N)
    return table, run, config, read_split(config, SPACE), archs, page


def read(page, space=SPACE):
    return Page(adversarial_html(page, space))


def test_the_numbers_are_those_of_measure(made):
    table, _, _, split, archs, page = made
    yardstick = Yardstick.of(table, METRIC, "parameters")
    expected = measure(archs, SPACE, yardstick, split.train_keys).percent()
    own = page.measures[0]
    assert own.values == pytest.approx(expected, nan_ok=True)
    assert [m.name for m in page.measures] == [
        "This fit", "Published", "All 3x3 convolutions", "Random graphs",
    ]  # fmt: skip
    shown = read(page)
    columns = [m.values for m in page.measures]
    for name, title in (("top-5", "Top-5 (%)"), ("mean accuracy", "Mean accuracy (%)")):
        numbers = [f"{values[name]:.2f}" for values in columns]
        assert " ".join([title, *numbers]) in shown.text
    assert f"Distinct {expected['distinct']:.0f} – " in shown.text  # noqa: RUF001 (not published)
    bars = {(r["top"], r["what"]): r["value"] for r in shown.charts["tops"]["datasets"]["tops"]}
    assert bars["Top-10", "This fit"] == pytest.approx(expected["top-10"], abs=1e-3)
    assert bars["Top-5", "Published"] == 45.91
    assert bars["Top-10", "Published"] == 52.21
    assert bars["Top-50", "Published"] == 57.37
    assert len(bars) == 12


def test_what_was_published_is_shown_where_it_is_of_the_same_accuracy(made):
    _, run, *_ = made
    other = adversarial_page(run, metric=OTHER, n=50)
    assert [m.name for m in other.measures] == ["This fit", "All 3x3 convolutions", "Random graphs"]
    assert other.spread.held_out is None
    assert other.judged.strong is None
    assert other.metric == OTHER
    text = read(other).text
    for word in ("Published", "taught to be strong", "held out as the best"):
        assert word not in text
    assert PUBLISHED["molgan"]["top-5"] == 22.63


def test_generators_that_have_not_learned_are_compared_with(made):
    table, _, _, split, _, page = made
    graphs = all_convolutions(SPACE).sample(N, rng=stream(0, "report/convolutions"))
    middle = graphs.ops[:, 1:-1]
    assert bool((middle == SPACE.op_names.index("conv3x3-bn-relu")).all())
    yardstick = Yardstick.of(table, METRIC, "parameters")
    for name, archs in (
        ("All 3x3 convolutions", graphs),
        ("Random graphs", RandomGraph(SPACE.layout).sample(N, rng=stream(0, "report/random"))),
    ):
        values = next(m.values for m in page.measures if m.name == name)
        expected = measure(dag.refine(archs), SPACE, yardstick, split.train_keys).percent()
        assert values == pytest.approx(expected, nan_ok=True)


def test_the_same_operation_is_found_in_other_spaces():
    for space, name in ((NASBench201(), "nor_conv_3x3"), (ENAS(), "conv3x3")):
        archs = all_convolutions(space).sample(3, rng=stream(0, "x"))
        assert bool((archs.ops[:, 1:-1] == space.op_names.index(name)).all())
        assert bool(space.is_valid(drawn(all_convolutions(space), space.layout, 3,
                                         rng=stream(0, "x"))).all())  # fmt: skip


def test_accuracies_are_those_of_the_table(made):
    table, _, _, split, archs, page = made
    column, spread = table.column(METRIC), page.spread
    rows = table.lookup(SPACE.keys(archs))
    known = [float(column[row]) for row in rows.tolist() if row >= 0 and not column[row].isnan()]
    assert spread.made.tolist() == pytest.approx(known)
    assert len(spread.table) == len(table) - 1  # one was not measured
    assert spread.best_seen == pytest.approx(float(split.scores.max()))
    best = column[split.top_rows]
    assert spread.held_out == pytest.approx((float(best.min()), float(best.max())))
    sets = charts.histogram(spread, METRIC)["datasets"]
    assert sets["seen"] == [{"at": pytest.approx(100 * float(split.scores.max()))}]
    assert sets["held out"][0]["from"] == pytest.approx(100 * float(best.min()))


def test_a_histogram_counts_what_lies_in_each_bin():
    table = torch.tensor([0.1] * 2 + [0.5] * 38 + [0.9] * 60)  # 2 % are left out, more are not
    spread = Spread(torch.tensor([0.1, 0.5, 0.9, 0.9]), table, 0.7, (0.8, 0.9))
    assert charts.lowest(spread) == pytest.approx(0.5)
    sets = charts.histogram(spread, METRIC)["datasets"]
    of = {
        what: [r for r in sets["accuracies"] if r["what"] == what and r["share"]]
        for what in ("generated", "all of the table")
    }
    assert [r["share"] for r in of["generated"]] == [0.25, 0.5]
    assert [r["share"] for r in of["all of the table"]] == [0.38, 0.6]
    first, last = of["generated"]
    assert (first["from"], last["to"]) == (pytest.approx(50), pytest.approx(90))
    assert sets["held out"] == [{"from": pytest.approx(80), "to": pytest.approx(90)}]
    low = torch.arange(100.0) / 100
    assert charts.lowest(Spread(torch.tensor([0.5]), low, 0.5)) == pytest.approx(0.05)
    assert charts.lowest(Spread(torch.tensor([0.03]), low, 0.5)) == pytest.approx(0.03)
    assert charts.lowest(Spread(torch.tensor([0.0]), low, 0.5)) == pytest.approx(0.02)
    assert charts.lowest(Spread(torch.zeros(0), low, 0.5)) == pytest.approx(0.05)


def test_the_best_cells_are_new_and_ranked(made):
    table, _, _, split, archs, page = made
    column = table.column(METRIC)
    train = {tuple(key) for key in split.train_keys.tolist()}
    keys = [tuple(key) for key in SPACE.keys(archs).tolist()]
    rows = table.lookup(SPACE.keys(archs)).tolist()
    new = {
        key: row
        for key, row in zip(keys, rows, strict=True)
        if row >= 0 and key not in train and not column[row].isnan()
    }
    best = sorted(new.items(), key=lambda item: -float(column[item[1]]))[:10]
    assert len(page.cells) == len(best) > 1
    held_out = set(split.top_rows.tolist())
    for cell, (key, row) in zip(page.cells, best, strict=True):
        assert cell.accuracy == pytest.approx(float(column[row]))
        assert cell.rank == int((column >= column[row]).sum())
        assert cell.times == keys.count(key)
        assert cell.held_out == (row in held_out)
        assert cell.parameters == 1000 * int(table.column("parameters")[row] / 1000)
        assert tuple(SPACE.keys(SPACE.parse([cell.text]))[0].tolist()) == key
    shown = read(page)
    assert len(shown.all("svg")) == len(best)
    assert [a["data-copy"] for a in shown.all("button")] == [cell.text for cell in page.cells]
    first = page.cells[0]
    assert f"rank {first.rank} of {len(table) - 1}" in shown.text
    assert shown.text.count("held out as one of the best") == sum(c.held_out for c in page.cells)


def test_the_valuer_is_asked_about_what_it_has_not_seen(made):
    table, run, config, split, archs, page = made
    critic, judged = load_valuer(config, run.state()), page.judged
    cells = table.archs(split.random_rows)
    with torch.no_grad():
        value = critic(Relaxed.of([cells], SPACE.layout.num_ops))[0]
    actual = table.column(METRIC)[split.random_rows]
    assert judged.predicted.tolist() == pytest.approx(value.sigmoid().tolist())
    assert judged.actual.tolist() == pytest.approx(actual.tolist())
    assert judged.tau == pytest.approx(metrics.kendall_tau(value, actual))
    strong = split.scores >= judged.strong - 1e-7
    assert int(strong.sum()) == round(0.3 * len(split.scores))
    keys = SPACE.keys(archs)
    known = [i for i, row in enumerate(table.lookup(keys).tolist()) if row >= 0]
    rows = table.lookup(keys[known])
    different = {int(row): i for i, row in zip(known, rows, strict=True)}
    different = {r: i for r, i in different.items() if not table.column(METRIC)[r].isnan()}
    with torch.no_grad():
        said = critic(
            Relaxed.of([archs[torch.tensor(list(different.values()))]], SPACE.layout.num_ops)
        )[0]
    tau = metrics.kendall_tau(said, table.column(METRIC)[list(different)])
    assert judged.tau_made == pytest.approx(tau, abs=0.02, nan_ok=True)  # orders differ in rounding
    shown = read(page)
    assert f"Kendall's τ = {judged.tau:.3f} on {len(judged.actual)} such cells" in shown.text
    low = charts.lowest(page.spread)
    points = shown.charts["valuer"]["datasets"]["cells"]
    assert len(points) == int((judged.actual >= low).sum())
    first = 100 * float(judged.predicted[judged.actual >= low][0])
    assert points[0]["y"] == pytest.approx(first, abs=1e-2)


def test_a_valuer_that_predicts_accuracies(made, tmp_path):
    table, *_ = made
    page = adversarial_page(fitted(tmp_path / "r", table, valuer="regression", graphs=64), n=20)
    assert not page.judged.classifies
    assert page.judged.strong is None
    shown = read(page)
    assert "says, the accuracy, over" in shown.text
    assert len(shown.charts["valuer"]["datasets"]["equal"]) == 2
    config = AdversarialConfig.parse(FitRun.open(tmp_path / "r").config)
    scores = read_split(config, SPACE).scores
    assert page.levels["valuer"] == pytest.approx(float(scores.var(correction=0)), rel=1e-4)


def test_training_is_charted_with_what_guessing_comes_to(made):
    *_, page = made
    shown = read(page)
    assert page.graphs == page.total == 320
    assert page.heeded == 160
    assert "λ falls from 1 to 0.1" in shown.text
    for name in ("generator", "discriminator", "valuer", "told_apart"):
        sets = shown.charts[f"training {name}"]["datasets"]
        assert [r["value"] for r in sets["history"]] == [r[name] for r in page.history]
        assert [r["graphs"] for r in sets["history"]] == list(range(32, 321, 32))
        assert sets["heeded"] == [{"graphs": 160}]
    level = {n: shown.charts[f"training {n}"]["datasets"]["level"] for n in page.levels}
    assert level["told_apart"] == [{"value": 0.5}]
    assert level["discriminator"] == [{"value": pytest.approx(2 * math.log(2))}]
    entropy = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert level["valuer"] == [{"value": pytest.approx(entropy)}]
    assert shown.charts["training generator"]["datasets"]["level"] == []
    always = replace(page, heeded=None)
    assert "λ falls" not in read(always).text
    early = replace(page, graphs=100)
    assert "λ falls" not in read(early).text
    assert "Training is not finished: 220 graphs are left." in read(early).text
    assert "not finished" not in shown.text


def test_the_header_says_what_was_trained(made):
    table, run, config, split, _, page = made
    text = read(page).text
    size = sum(p.numel() for p in load_adversary(config, run.state()).parameters())
    assert "What GNN2GNN generates on NAS-Bench-101" in text
    assert f"Parameters {size:,} Graphs seen 320" in text
    assert (
        f"Trained on {len(split.train)} architectures with their {METRIC}; held out: the best "
        f"{len(split.top_rows)}, and {len(split.random_rows)} at random." in text
    )
    assert len(table) == len(split.train) + len(split.held_out_rows) + 1
    assert page.epochs == pytest.approx(320 / len(split.train))
    assert page.seconds == page.history[-1]["seconds"] > 0


def test_what_is_missing_is_said_or_left_out(made):
    *_, page = made
    spread = replace(page.spread, made=torch.zeros(0))
    bare = replace(page, cells=(), judged=None, history=(), spread=spread)
    shown = read(bare)
    assert set(shown.charts) == {"tops"}
    assert f"None of 300 generated graphs has a known {METRIC}." in shown.text
    assert "No graph was generated that is in the table" in shown.text
    assert "The valuer" not in shown.text
    unknown = Measured("This fit", "var(--hue0)", dict.fromkeys(page.measures[0].values, math.nan))
    shown = read(replace(bare, measures=[unknown]))
    assert shown.charts["tops"]["datasets"]["tops"] == []
    assert "nan" not in shown.text.lower().replace("finance", "")
    with pytest.raises(ValueError, match="2 predictions of 3 cells"):
        Judged(torch.zeros(2), torch.zeros(3), True, 0.0, 0.0)


def test_every_chart_can_be_drawn_and_text_stays_text(made, tmp_path):
    *_, page = made
    hostile = "<b>&'\"</script>"
    evil = replace(page, method=hostile, data=hostile, metric=hostile, published=hostile)
    path = write_adversarial_report(evil, SPACE, tmp_path / "p.html")
    shown = Page(path.read_text())
    assert shown.all("b") == []
    assert f"What {hostile} generates" in shown.text
    places = [a["data-chart"] for a in shown.all("div") if "data-chart" in a]
    assert sorted(places) == sorted(shown.charts)
    assert len(places) == 7
    for spec in read(page).charts.values():
        drawn_with = {key: value for key, value in spec.items() if key != "datasets"}
        assert vl_convert.vegalite_to_svg(
            {**drawn_with, "datasets": spec["datasets"], "width": 400}
        )


def test_the_same_seed_gives_the_same_page_and_another_does_not(made):
    _, run, *_, page = made
    state = torch.random.get_rng_state()
    assert adversarial_html(adversarial_page(run, n=N), SPACE) == adversarial_html(page, SPACE)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = adversarial_page(run, n=N, seed=1)
    for i in (0, -2, -1):  # the fit, and what has not learned
        values = [found.measures[i].values for found in (page, other)]
        known = [{n: v for n, v in some.items() if not math.isnan(v)} for some in values]
        assert known[0] != known[1]
