import json
import math
import re

import pytest
import torch
from report_samples import Page, config, make_run, samples_of

from netwright.cli.samples import draw_samples
from netwright.generators.graphpnas import GraphPNAS
from netwright.graphs.layout import Layout
from netwright.progress import Step
from netwright.report.page import report_html
from netwright.rng import stream
from netwright.runs.samples import Samples
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

SCORES = [0.5 + 0.01 * (i * 7 % 40) for i in range(40)]
MINUS = "−"  # noqa: RUF001 (a minus sign)


def drawn_samples(space, n=30, layout=None):
    layout = layout or space.layout
    generator = GraphPNAS(layout, hidden=8, rounds=1, mixtures=3, rng=stream(0, "generator"))
    return draw_samples(generator, space, n=n, rng=stream(1, "draws"))


def test_entropy_and_validity_over_time(tmp_path):
    run = make_run(tmp_path / "a", Toy(), SCORES)
    for step in range(4):
        stats = {"valid": step / 4, "entropy": 9.0 - step, "loss": 1.0}
        run.ledger.append_step(Step(step, 10 * (step + 1), stats))
    charts = Page(report_html([run], Toy())).charts
    for name, values in (("valid", [0, 0.25, 0.5, 0.75]), ("entropy", [9, 8, 7, 6])):
        steps = charts[f"generator {name}"]["datasets"]["steps"]
        assert [s["value"] for s in steps] == values
        assert [s["evaluations"] for s in steps] == [10, 20, 30, 40]
    assert charts["generator valid"]["encoding"]["y"]["scale"]["domain"] == [0, 1]
    assert charts["statistic 0"]["datasets"]["steps"][0]["value"] == 1.0
    assert "statistic 1" not in charts, "shown once"


def test_samples_at_the_end_in_numbers(tmp_path):
    space = NASBench101()
    run = make_run(tmp_path / "demo", space, SCORES)
    known = run.ledger.rows()[0]
    samples = samples_of(space, ["a", "a", "b", "c", None])
    seen = samples.draws[0].model_copy(update={"key": known.key})
    Samples(last_row=1, draws=(seen, *samples.draws[1:])).write(run.folder)
    text = Page(report_html([run], space)).text
    entropy = [2.0, 3.0, 4.0, 5.0, 6.0]
    error = torch.tensor(entropy).std() / math.sqrt(5)
    assert f"demo 5 80.0% 100.0% 80.0% 75.0% 50.0% 4.00 ± {error:.2f}" in text
    assert "How one sample" not in text


def test_the_trace_says_what_the_generator_did(tmp_path):
    space = NASBench101()
    run = make_run(tmp_path / "a", space, SCORES)
    samples = drawn_samples(space)
    samples.write(run.folder)
    html = report_html([run], space)
    page = Page(html)
    trace = samples.trace
    total = 0.0
    for i, step in enumerate(trace.steps):
        total += step.log_op + step.log_edges
        start = page.text.index(f"Step {i + 1} node {i}:")
        card = page.text[start : page.text.index("so far", start) + 20]
        for source, p in enumerate(step.edge_probability):
            drawn = " drawn" if source in step.edges else ""
            assert f"{source} → {p:.0%}{drawn}" in card
        if i:
            for op, p in enumerate(step.op_probability):
                assert (f" {p:.0%} " in card) or p == 0, op
            assert "Mixture of 3 components" in card
        expected = f"{abs(total):.3f}"
        assert f"so far {MINUS if float(expected) else ''}{expected}" in card
    assert f"{MINUS}{-trace.log_prob:.3f} nats" in page.text
    assert total == pytest.approx(trace.log_prob, abs=1e-4)
    n = len(trace.steps)
    assert len(re.findall(r'<g id="step\d+">', html)) == n
    assert html.count("<use ") == n * (n + 1) // 2, "step k shows k nodes"


def test_what_the_layout_decides_is_said(tmp_path):
    space = NASBench201()
    run = make_run(tmp_path / "a", space, SCORES)
    drawn_samples(space).write(run.folder)
    text = Page(report_html([run], space)).text
    assert text.count("Incoming edges: fixed by the space.") == 7
    assert text.count("Operation: no choice.") == 2
    assert "Mixture of" not in text


def test_a_trace_of_32_nodes_stays_small(tmp_path):
    space = NASBench101(max_nodes=32, max_edges=496)
    layout = Layout.make(32, 5)
    run = make_run(tmp_path / "a", space, SCORES[:3])
    samples = drawn_samples(space, n=3, layout=layout)
    assert len(samples.trace.steps) == 32
    before = len(report_html([run], space))
    samples.write(run.folder)
    html = report_html([run], space)
    Page(html)
    assert len(html) - before < 400_000


def test_samples_of_another_space_still_make_a_page(tmp_path):
    run = make_run(tmp_path / "a", Toy(), SCORES)
    drawn_samples(NASBench201()).write(run.folder)
    assert "The samples are not of toy" in Page(report_html([run], Toy())).text


def test_damaged_samples_are_refused(tmp_path):
    run = make_run(tmp_path / "a", Toy(), SCORES, settings=config("toy"))
    drawn_samples(Toy()).write(run.folder)
    data = json.loads((run.folder / "samples.json").read_text())
    data["trace"]["steps"][0]["log_op"] -= 0.5
    (run.folder / "samples.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"samples\.json is damaged .*add up to"):
        report_html([run], Toy())
