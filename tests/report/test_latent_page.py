import json
import math
import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch
import vl_convert
from report_samples import Page
from test_browser import CHROMIUM
from test_report_page import HOSTILE, Hostile

from netwright.graphs.batch import ArchitectureBatch
from netwright.report.drawing import draw_svg
from netwright.report.latent import (
    LatentPage,
    Lines,
    Metric,
    Plane,
    latent_html,
    write_latent_report,
)
from netwright.report.latent_charts import MAX_POINTS, grid, mean_and_band, scatter
from netwright.report.latent_figures import fig2_svg, fig3_left_svg
from netwright.report.latent_sections import drawn_cells, ramp_colour
from netwright.report.topology import RAMP
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

TOY = Toy()
ALL = TOY.enumerate()


def toys(*names):
    return TOY.from_text(
        [",".join({"i": "identity", "1": "conv1x1", "3": "conv3x3"}[c] for c in n) for n in names]
    )


def broken(archs, *which):
    """The graphs, some of them without an edge that the space asks for."""
    adj = archs.adj.clone()
    adj[list(which), 0] = False
    return ArchitectureBatch(archs.ops, adj, archs.num_nodes)


def plane_of(space, *, n=40, k=3, scored=True, name="validation accuracy", invalid=()):
    source = stream(0, "plane")
    cells = broken(space.sample(k * k, rng=source), *invalid)
    score = torch.linspace(0.5, 0.9, n) if n else torch.zeros(0)
    return Plane(
        torch.randn(n, 2, generator=source), score, name, (0.4, 0.25), 0.3, cells,
        torch.linspace(0.6, 0.8, k * k) if scored else None,
    )  # fmt: skip


def page_of(space, **changes):
    source = stream(1, "page")
    full = LatentPage(
        method="SVGe",
        data="27 chains",
        latent_size=56,
        parameters=412_345,
        graphs=2_280_000,
        epochs=60,
        seconds=8123.0,
        history=[
            {"graphs": 1000 * i, "train": {"total": 9.0 / i, "kl": 2.0},
             "valid": {"total": 10.0 / i}, "reconstruction": 1 - 1 / (i + 1),
             "lr": 1e-4, "seconds": 3.0 * i}
            for i in range(1, 6)
        ],
        plane=plane_of(space),
        circle=space.sample(14, rng=source),
        lines=Lines(space.sample(20, rng=source), 5, space.sample(9, rng=source)),
        metrics=[Metric("Reconstruction (%)", 99.57, 99.6), Metric("Validity (%)", 81.25)],
    )  # fmt: skip
    return replace(full, **changes)


def read(page, space=TOY):
    return Page(latent_html(page, space))


@pytest.mark.parametrize("space", [TOY, NASBench101(), NASBench201()], ids=lambda s: s.name)
def test_a_page_says_what_it_was_given(space):
    page = read(page_of(space), space)
    assert "The latent space of SVGe on" in page.text
    assert "Trained on 27 chains. 56 latent dimensions." in page.text
    assert "Parameters 412,345 Graphs seen 2,280,000 Epochs 60 Training 2 h 15 min" in page.text
    assert "Measure Here Paper Reconstruction (%) 99.57 99.6 Validity (%) 81.25" in page.text
    assert len(page.all("svg")) == 9 + 14  # the grid and the circle
    assert set(page.charts) == {
        *(f"training {i}" for i in range(4)),
        "means",
        "grid",
        "ends",
        "next",
    }
    places = [a["data-chart"] for a in page.all("div") if "data-chart" in a]
    assert sorted(places) == sorted(page.charts)


def test_what_is_missing_is_left_out():
    bare = page_of(TOY, history=(), plane=None, circle=None, lines=None, metrics=())
    page = read(bare)
    assert page.charts == {}
    for title in ("Generation", "Training ", "plane", "circle", "Smoothness"):
        assert title not in page.text.replace("Training 2 h", "")
    assert "Paper" not in read(replace(bare, metrics=[Metric("Validity (%)", 1.0)])).text


def test_training_is_charted_by_term():
    curves = page_of(TOY).curves()
    assert list(curves) == ["total", "kl", "reconstruction", "lr"]
    assert list(curves["total"]) == ["train", "valid"]
    assert curves["total"]["valid"][:2] == [(1000.0, 10.0), (2000.0, 5.0)]
    flat = [
        {"graphs": 1, "train": 2.0, "valid": 3.0, "train/kl": math.nan, "valid_kl": 4, "note": "a"}
    ]
    assert page_of(TOY, history=flat).curves() == {
        "loss": {"train": [(1.0, 2.0)], "valid": [(1.0, 3.0)]},
        "kl": {"valid": [(1.0, 4.0)]},
    }
    with pytest.raises(ValueError, match="row 0 of the history"):
        page_of(TOY, history=[{"train": 1.0}])


def test_means_are_coloured_by_the_percentile_of_their_score():
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]])
    score = torch.tensor([0.9, 0.1, torch.nan, 0.5, 0.5])
    view = replace(plane_of(TOY, n=0), points=points, score=score)
    sets = scatter(view)["datasets"]
    rows = sets["means"]
    assert sets["others"] == [{"x": 4, "y": 5}]
    assert [(r["x"], r["y"], r["percentile"]) for r in rows] == [
        (0, 1, 0.875), (2, 3, 0.125), (6, 7, 0.5), (8, 9, 0.5),
    ]  # fmt: skip
    assert [view.quantile(share) for share in (0.0, 1.0)] == pytest.approx([0.1, 0.9])
    assert (ramp_colour(0.0), ramp_colour(1 / 3), ramp_colour(1.0)) == (RAMP[0], RAMP[1], RAMP[-1])
    assert (
        "5 architectures, at their latent means, coloured by validation accuracy."
        in read(page_of(TOY, plane=view)).text
    )


def test_without_scores_nothing_is_coloured():
    unknown = replace(plane_of(TOY, scored=False), score=torch.full((40,), torch.nan))
    page = read(page_of(TOY, plane=unknown))
    assert "40 architectures, at their latent means. The origin" in page.text
    assert "percentile" not in page.text
    sets = page.charts["means"]["datasets"]
    assert (len(sets["means"]), len(sets["others"])) == (0, 40)
    assert "percentile" not in fig3_left_svg(unknown, TOY)


def test_of_many_means_some_are_drawn_from_all_over():
    n = 3 * MAX_POINTS // 2
    view = replace(plane_of(TOY, n=n), points=torch.arange(2.0 * n).view(n, 2))
    rows = scatter(view)["datasets"]["means"]
    assert len(rows) == MAX_POINTS
    assert rows[0]["x"] == 0
    assert rows[-1]["x"] > 2 * n - 8
    assert "7,500 architectures, 5,000 of them drawn" in read(page_of(TOY, plane=view)).text


def test_the_grid_is_drawn_where_it_was_decoded():
    view = plane_of(TOY, k=3)
    score = torch.tensor([0.1, 0.2, 0.3, 0.4, torch.nan, 0.6, 0.7, 0.8, 0.9])
    sets = grid(replace(view, cell_score=score), [i != 2 for i in range(9)])["datasets"]
    centres = [((r["x"] + r["x2"]) / 2, (r["y"] + r["y2"]) / 2) for r in sets["scored"]]
    expected = [(x, y) for y in (0.3, 0.0, -0.3) for x in (-0.3, 0.0, 0.3)]
    kept = [i for i in range(9) if i not in (2, 4)]
    assert centres == [pytest.approx(expected[i], abs=1e-9) for i in kept]
    assert [r["score"] for r in sets["scored"]] == pytest.approx(score[kept].tolist())
    assert len(sets["unknown"]) == 1
    assert [(r["x"], r["y"]) for r in sets["invalid"]] == [pytest.approx((0.3, 0.3))]


def test_invalid_cells_are_marked_and_only_some_cells_of_a_fine_grid_drawn():
    page = read(page_of(TOY, plane=plane_of(TOY, k=3, invalid=(1, 8))))
    cells = [a for a in page.all("li") if "--dot" in a.get("style", "")]
    assert [i for i, a in enumerate(cells) if a.get("class") == "invalid"] == [1, 8]
    assert cells[1]["style"] == "--dot:var(--line)"
    assert cells[0]["title"] == "validation accuracy 0.6000"
    assert "78% become architectures" in page.text
    fine = plane_of(TOY, k=13, scored=False)
    assert drawn_cells(fine)[:8] == [0, 2, 4, 6, 8, 10, 12, 26]
    assert drawn_cells(fine)[-1] == 168
    page = read(page_of(TOY, plane=fine, circle=None))
    assert len(page.all("svg")) == 49
    assert "7 × 7 of the points" in page.text  # noqa: RUF001 (times)
    assert "The bar is" not in page.text


def test_a_circle_says_how_many_edits_lie_between_neighbours():
    walk = broken(toys("iii", "ii1", "i31", "133", "333"), 2)  # 1, 1 + 1, 2 + 1, 1 and 3 edits
    page = read(page_of(TOY, circle=walk, plane=None))
    found = re.findall(r"(\d+) edits? (to the next|back to the first)", page.text)
    assert [int(n) for n, _ in found] == [1, 2, 3, 1, 3]
    assert [where for _, where in found] == ["to the next"] * 4 + ["back to the first"]
    assert page.text.count("× invalid") == 1  # noqa: RUF001 (the mark)
    copied = [a["data-copy"] for a in page.all("button") if "data-copy" in a]
    assert copied == TOY.to_text(walk[torch.tensor([0, 1, 3, 4])])
    assert "neighbours differ in 2 on average" in page.text


def test_a_graph_that_simplifies_to_an_architecture_is_valid():
    space = NASBench101()
    loose = space.from_text(["input,conv3x3-bn-relu,maxpool3x3,output:0100000100000000"])
    assert not space.is_valid(loose).item()
    page = read(page_of(space, circle=ArchitectureBatch.cat([loose, loose])), space)
    assert "× invalid" not in page.text  # noqa: RUF001 (the mark)


def test_distances_along_a_walk_are_those_counted_by_hand():
    walks = toys("iii", "ii1", "i11", "111", "333", "333", "133", "113")
    lines = Lines(walks, 4, toys("iii", "111", "11i"))
    assert lines.distances(0).tolist() == [[0, 1, 2, 3], [0, 0, 1, 2]]
    assert lines.distances(-1).tolist() == [[3, 2, 1, 0], [2, 2, 1, 0]]
    assert lines.neighbours().tolist() == [[1, 1, 1], [0, 1, 1]]
    assert lines.random().tolist() == [3, 1]
    page = read(page_of(TOY, lines=lines))
    rows = page.charts["ends"]["datasets"]["walks"]
    start = [r for r in rows if r["what"] == "to the start"]
    assert [(r["way"], r["mean"]) for r in start] == [
        (0, 0), (pytest.approx(1 / 3), 0.5), (pytest.approx(2 / 3), 1.5), (1, 2.5),
    ]  # fmt: skip
    assert [(r["low"], r["high"]) for r in start] == [(0, 0), (0, 1), (1, 2), (2, 3)]
    between = [r["way"] for r in page.charts["next"]["datasets"]["walks"]]
    assert between == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    [random] = page.charts["ends"]["datasets"]["random"]
    assert (random["mean"], random["low"], random["high"]) == (2, 1, 3)
    assert "differ in 0.83 edits on average" in page.text
    assert "random architectures differ in 2.00" in page.text


def test_the_band_holds_nine_tenths():
    mean, low, high = mean_and_band(torch.arange(101).flip(0))
    assert (mean, low, high) == (50, 5, 95)


def test_hostile_names_stay_text():
    space = Hostile()
    page = page_of(
        space,
        method=HOSTILE,
        data=HOSTILE,
        history=[{"graphs": 1, HOSTILE: 2.0, "train": {HOSTILE: 3.0}}],
        plane=plane_of(space, name=HOSTILE),
        metrics=[Metric(HOSTILE, 1.0)],
    )
    html = latent_html(page, space)
    read_back = Page(html)
    assert HOSTILE not in html
    assert "<!--" not in html
    assert len(read_back.all("script")) == 3
    assert not [a for _, attrs in read_back.tags for a in attrs if a.startswith("on")]
    assert HOSTILE.replace("\u2028", " ") in read_back.text
    [policy] = read_back.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none';")
    assert "http" not in json.dumps(read_back.charts)
    for spec in read_back.charts.values():
        vl_convert.vegalite_to_svg(spec | {"width": 300})
    for figure in (fig2_svg(page.circle, space), fig3_left_svg(page.plane, space)):
        assert HOSTILE not in figure
        ET.fromstring(figure)


def test_a_graph_without_nodes_does_not_end_the_page():
    nothing = ArchitectureBatch.masked(ALL.ops[:3], ALL.adj[:3], torch.tensor([3, 0, 3]))
    page = read(page_of(TOY, circle=nothing, plane=None, lines=None))
    assert "This graph cannot be drawn" in page.text
    assert page.text.count("× invalid") == 1  # noqa: RUF001 (the mark)
    with pytest.raises(ValueError, match="at least one node"):
        fig2_svg(nothing, TOY)


@pytest.mark.parametrize("n", [2, 5, 14])
def test_figure_2_is_a_loop_with_its_edits(n):
    walk = broken(ALL[torch.arange(n) * 5 % 27], 1)
    root = ET.fromstring(fig2_svg(walk, TOY))
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    after = ALL[torch.arange(n).roll(-1) * 5 % 27]
    edits = (walk.ops != after.ops).sum(dim=1)
    edits += (walk.adj != broken(after, *([0] if n > 1 else [])).adj).sum(dim=(1, 2))
    assert texts[-n:] == [str(e) for e in edits.tolist()]
    assert [t for t in texts[:-n] if t.isdigit()] == [str(i + 1) for i in range(n)]
    assert texts.count("×") == 1  # noqa: RUF001 (the mark)
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if "data-node" in g.attrib]
    assert len(groups) == 3 * n
    frames = _inside(root)
    pitch = min(abs(a[0] - b[0]) for a in frames for b in frames if a[0] != b[0]) if n > 2 else 0
    for (x, *_), (after, *_) in zip(frames, [*frames[1:], frames[0]], strict=True):
        assert abs(x - after) <= pitch + 1  # neighbours stand side by side: a loop
    arrows = [p.get("d") for p in root.iter() if p.get("stroke-width") == "1.5"]
    assert len(arrows) == n
    (x, y, w, _), (last, below, *_) = frames[0], frames[-1]
    start, end = re.findall(r"[ML]([\d.]+) ([\d.]+)", arrows[-1])  # the last one returns
    assert [float(start[0]), float(end[0])] == pytest.approx([last + w / 2, x + w / 2], abs=2)
    assert y < float(end[1]) < float(start[1]) < below


@pytest.mark.parametrize("space", [NASBench101(), NASBench201()], ids=lambda s: s.name)
def test_figure_3_has_the_means_and_the_grid(space):
    view = plane_of(space, n=30, k=4)
    figure = fig3_left_svg(view, space)
    root = ET.fromstring(figure)
    assert "var(" not in figure
    nodes = sum(int(n) for n in view.cells.num_nodes)
    assert sum("data-node" in g.attrib for g in root.iter("{http://www.w3.org/2000/svg}g")) == nodes
    marks = [g for g in root.iter() if "mark-symbol" in g.get("class", "")]
    assert sum(len(list(mark)) for mark in marks) == 30
    assert f"{view.quantile(0.5):.4f} (50%)" in figure
    _inside(root)


def _inside(root):
    """Insist that frames lie within the image and do not overlap."""
    width, height = float(root.get("width")), float(root.get("height"))
    frames = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill") == "none"]
    boxes = [[float(r.get(k)) for k in ("x", "y", "width", "height")] for r in frames if r.get("x")]
    boxes = [box for box in boxes if min(box[2:]) > 40]
    assert boxes
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other, below, *_ in boxes[:i]:
            assert abs(x - other) >= w or abs(y - below) >= h
    return boxes


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Lines(ALL[:7], 3, ALL[:2]), "7 graphs are no walks of 3 steps"),
        (lambda: Lines(ALL[:6], 3, ALL[:1]), "at least two"),
        (lambda: replace(plane_of(TOY), cells=ALL[:8], cell_score=None), "no square grid"),
        (lambda: replace(plane_of(TOY), cell_score=torch.zeros(3)), "3 scores"),
        (lambda: replace(plane_of(TOY), score=torch.zeros(3)), "40 latent means but 3 scores"),
        (lambda: replace(plane_of(TOY), half_width=0.0), "half width"),
        (lambda: fig2_svg(ALL[:1], TOY), "at least two graphs"),
    ],
)
def test_what_cannot_be_shown_is_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


PROBE = """<!doctype html><iframe src="latent.html" width="{width}" height="6000"></iframe>
<script>
setTimeout(() => {{
  const frame = document.querySelector("iframe"), page = frame.contentDocument;
  const root = page.documentElement;
  const facts = {{ charts: page.querySelectorAll("svg.marks").length }};
  facts.means = page.querySelectorAll("[data-chart=means] .mark-symbol path").length;
  facts.overflow = root.scrollWidth - root.clientWidth;
  facts.loaded = frame.contentWindow.performance.getEntriesByType("resource").length;
  document.body.innerHTML = `<p>FACTS ${{Object.entries(facts).flat().join(" ")}} END</p>`;
}}, 3000);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_is_drawn_without_a_network(tmp_path, width):
    space = NASBench101()
    write_latent_report(page_of(space, plane=plane_of(space, k=9)), space, tmp_path / "latent.html")
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1700,6100",
        "--virtual-time-budget=8000", "--dump-dom", (tmp_path / "probe.html").as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    words = re.search(r"FACTS (.*) END", dom)[1].split()
    facts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert facts == {"charts": 8, "means": 40, "overflow": 0, "loaded": 0}


def test_a_small_drawing_has_the_boxes_but_no_words():
    arch = NASBench101().sample(1, rng=stream(0, "one"))
    small, large = (draw_svg(arch, NASBench101.op_names, named=named) for named in (False, True))
    boxes = [re.findall(r'<g data-node="(\d+)"><title>(.*?)</title>', s) for s in (small, large)]
    assert boxes[0] == boxes[1]
    assert ("<text" in small, "<text" in large) == (False, True)
    width = [float(ET.fromstring(s).get("width")) for s in (small, large)]
    assert width[0] < 0.7 * width[1]
