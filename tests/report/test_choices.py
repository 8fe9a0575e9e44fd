import math
from itertools import pairwise

import pytest
import torch
from report_samples import Page, make_run, samples_of

from netwright.graphs import dag
from netwright.report.methods import methods
from netwright.report.page import report_html
from netwright.report.panels import MAX_READ, panels, strided
from netwright.report.summary import Summary
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

SCORES = [0.5 + 0.01 * (i * 7 % 40) for i in range(40)]


def chart(page, name, data):
    return page.charts[name]["datasets"][data]


@pytest.mark.parametrize("space", [Toy(), NASBench101(), NASBench201()], ids=lambda s: s.name)
def test_shares_of_operations_are_those_of_the_ledger(tmp_path, space):
    run = make_run(tmp_path / "a", space, SCORES)
    page = Page(report_html([run], space))
    rows = run.ledger.rows()
    open_ = space.layout.allowed_ops.sum(dim=1) > 1
    titles = ["explorer", "generator"]
    for i, origin in enumerate(titles):
        bars = chart(page, f"operations {i}", "shares")
        assert f"{origin}, 20 proposals" in page.text
        for start in range(0, 40, 5):
            mine = [r for r in rows if r.origin == origin and start <= r.index < start + 5]
            archs = space.from_text([r.arch for r in mine])
            ops = archs.ops[open_[: archs.max_nodes] & archs.node_mask]
            ops = ops[ops != space.layout.end_op] if space.layout.end_op is not None else ops
            here = [bar for bar in bars if bar["from"] == start]
            if not len(ops):  # nothing but cells without operations
                assert not here
                continue
            assert {bar["to"] for bar in here} == {start + 5}
            assert sum(bar["share"] for bar in here) == pytest.approx(1, abs=1e-3)
            counts = torch.bincount(ops, minlength=space.layout.num_ops).double() / len(ops)
            shares = [c for c in counts.tolist() if c > 0]
            assert [bar["share"] for bar in here] == pytest.approx(shares, abs=2e-4)
            assert here[0]["low"] == 0
            for below, above in pairwise(here):
                assert below["high"] == above["low"]


def test_edges_per_graph_are_those_of_the_ledger(tmp_path):
    space = NASBench101()
    run = make_run(tmp_path / "a", space, SCORES)
    points = chart(Page(report_html([run], space)), "edges", "edges")
    rows = run.ledger.rows()
    assert len(points) == 16
    for point in points:
        start = point["evaluation"] - 2.5
        mine = [r for r in rows if r.origin == point["what"] and start <= r.index < start + 5]
        edges = space.from_text([r.arch for r in mine]).num_edges.double()
        assert point["mean"] == pytest.approx(float(edges.mean()), abs=1e-3)
        sd = float(edges.std(correction=0))
        assert point["high"] - point["low"] == pytest.approx(2 * sd, abs=1e-6)


def test_a_line_ends_where_nothing_was_proposed(tmp_path):
    space = NASBench101()
    origins = ["b" if 10 <= i < 20 else "a" for i in range(40)]
    run = make_run(tmp_path / "a", space, SCORES, origins=origins)
    points = chart(Page(report_html([run], space)), "edges", "edges")
    assert len({p["piece"] for p in points if p["what"] == "a"}) == 2
    assert len({p["piece"] for p in points if p["what"] == "b"}) == 1


def test_operations_by_place_are_the_generators(tmp_path):
    space = NASBench201()
    run = make_run(tmp_path / "a", space, SCORES)
    text = Page(report_html([run], space)).text
    mine = [r for r in run.ledger.rows() if r.origin == "generator"]
    for when, part in (("First", mine[:5]), ("Last", mine[-5:])):
        ops = space.from_text([r.arch for r in part]).ops[:, 1]
        shares = " ".join(f"{float((ops == op).double().mean()):.0%}" for op in range(1, 6))
        title = f"{when} quarter (evaluations {part[0].index + 1} to {part[-1].index + 1})"
        after = text[text.index(title) :]
        assert f"0 → 1 {shares} 0 → 2" in after[:300]
    assert "The edges of NAS-Bench-201 are fixed" in text
    assert "edges" not in Page(report_html([run], space)).charts


def test_places_in_the_clustering_chart(tmp_path):
    space = NASBench101()
    scores = [math.nan if i == 3 else s for i, s in enumerate(SCORES)]
    run = make_run(tmp_path / "a", space, scores, origins=["generator"] * 40)
    places = chart(Page(report_html([run], space)), "topology 0", "graphs")
    assert sum(place["graphs"] for place in places) == 39
    rows = [r for r in run.ledger.rows() if r.score is not None]
    archs = space.from_text([r.arch for r in rows])
    where = zip(dag.average_path_length(archs), dag.clustering_coefficient(archs), strict=True)
    found = {}
    for row, (x, y) in zip(rows, where, strict=True):
        found.setdefault((round(float(x), 3), round(float(y), 3)), []).append(row.score)
    assert len(found) > 5
    for place in places:
        mine = found[place["path"], place["clustering"]]
        assert place["graphs"] == len(mine)
        assert place["score"] == pytest.approx(sum(mine) / len(mine))
        assert place["best"] == max(mine)


def test_of_several_runs_the_second_half_is_placed(tmp_path):
    space = NASBench101()
    runs = [make_run(tmp_path / name, space, SCORES) for name in "ab"]
    places = chart(Page(report_html(runs, space)), "topology 0", "graphs")
    assert sum(place["graphs"] for place in places) == 40


def test_one_topology_is_said_and_not_drawn(tmp_path):
    run = make_run(tmp_path / "a", NASBench201(), SCORES)
    samples_of(NASBench201(), ["a"]).write(run.folder)
    page = Page(report_html([run], NASBench201()))
    assert "All graphs of NAS-Bench-201 have the same edges" in page.text
    assert "topology 0" not in page.charts
    assert "dense" not in page.text.lower()


def test_long_runs_are_read_in_part(tmp_path):
    origins = [f"origin {i % 7}" for i in range(40)]
    run = make_run(tmp_path / "a", Toy(), SCORES, origins=origins)
    rows = run.ledger.rows()
    assert strided(rows) == rows
    many = strided(rows * (MAX_READ // 8))
    assert MAX_READ // 2 < len(many) <= MAX_READ
    found = panels(methods([Summary.of(run)]), Toy())
    assert [panel.title for panel in found] == [f"origin {i}" for i in range(4)]


def test_graphs_of_32_nodes_stay_small_on_the_page(tmp_path):
    from netwright.spaces.nasbench101 import NASBench101 as Large

    space = Large(max_nodes=32, max_edges=496)
    archs = space.sample(1, rng=stream(0, "large"))
    assert int(archs.num_nodes[0]) > 25
    run = make_run(tmp_path / "a", space, SCORES[:3])
    html = report_html([run], space)
    assert len(html) < 2_500_000
