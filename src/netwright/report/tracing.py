"""How the generator came to one of its samples, step by step ([GraphPNAS] Fig. 4)."""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.report import words
from netwright.report.drawing import LINES, Sketch, colours, label, sketch, svg
from netwright.report.markup import Markup, element, join
from netwright.report.summary import Summary
from netwright.runs.samples import SampleTrace, TraceStep
from netwright.spaces.base import SearchSpace

_MIXTURE_SHOWN = 0.995  # of the components' weight that is written in numbers
_NARROWEST, _WIDEST = 190.0, 1040.0  # pixels that a picture gets
_OPEN = 12  # steps; more are shown when asked for


def tracing(summary: Summary, space: SearchSpace) -> Markup | None:
    """Show the steps that led to one sample; nothing where no trace is known."""
    if summary.samples is None or summary.samples.trace is None:
        return None
    trace = summary.samples.trace
    title = "How one sample came to be"
    if any(len(step.op_probability) != len(space.op_names) for step in trace.steps):
        text = f"The samples are not of {space.name}: their operations are others."
        return element("section", element("h2", title), element("p", text, cls="muted"))
    drawn = sketch(_graph(trace), space.op_names, numbered=True)
    log_probs = [step.log_op + step.log_edges for step in trace.steps]
    cards = [
        element(
            "li",
            element(
                "div",
                element("span", f"Step {i + 1}", cls="rank"),
                element("span", f"node {i}: {label(space.op_names[step.op])}", cls="what"),
                cls="head",
            ),
            element("div", _picture(drawn, i), cls="picture"),
            _operations(step, space),
            *_edges(step),
            element("p", *_sums(step, total), cls="sum"),
            cls="cell",
        )
        for i, (step, total) in enumerate(zip(trace.steps, accumulate(log_probs), strict=True))
    ]
    text = (
        "At each step the generator sees the graph so far, and draws the operation of the next "
        "node and its edges from earlier nodes; what was drawn is outlined. A percentage at an "
        "edge is its own probability, whatever the others do; edges are drawn together, from a "
        "mixture, so their joint log-probability is not the sum of these. The last running sum "
        f"is the log-probability of the sample, {_nats(trace.log_prob)} nats. "
        "The graph is shown as drawn, before simplification."
    )
    wide = max(_NARROWEST, min(_WIDEST, 0.75 * drawn.width)) + 32
    return element(
        "section",
        element(
            "details",
            element("summary", f"{title}, in {words.plural(len(trace.steps), 'step')}"),
            element("p", text, cls="muted"),
            _definitions(drawn),
            element("ol", *cards, cls="gallery trace", style=f"--wide:{wide:.0f}px"),
            open=len(trace.steps) <= _OPEN,
        ),
        aria_label=title,
    )


def _graph(trace: SampleTrace) -> ArchitectureBatch:
    n = len(trace.steps)
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for target, step in enumerate(trace.steps):
        adj[0, list(step.edges), target] = True
    ops = torch.tensor([[step.op for step in trace.steps]])
    return ArchitectureBatch(ops, adj, torch.tensor([n]))


def _definitions(drawn: Sketch) -> Markup:
    """Define every node with the edges into it once, for all pictures to use."""
    groups = [
        f'<g id="step{i}"><g {LINES}>{edges}</g>{box}</g>'
        for i, (edges, box) in enumerate(zip(drawn.edges, drawn.boxes, strict=True))
    ]
    inside = f"<defs>{''.join(groups)}</defs>"
    return Markup(f'<svg width="0" height="0" class="defs" aria-hidden="true">{inside}</svg>')


def _picture(drawn: Sketch, node: int) -> Markup:
    """Draw the graph up to a node, which is new; every node stays in its place."""
    known = "".join(f'<use href="#step{i}"/>' for i in range(node))
    new = f'<g class="new"><use href="#step{node}"/></g>'
    height = max(drawn.bottoms[: node + 1])
    return Markup(svg(known + new, drawn.width, height, f"The graph after step {node + 1}"))


def _operations(step: TraceStep, space: SearchSpace) -> Markup:
    """Show the probability of every operation that is possible, as bars."""
    possible = [(op, p) for op, p in enumerate(step.op_probability) if p > 0]
    if len(possible) == 1:
        return element("p", "Operation: no choice.", cls="note")
    paint = colours(space.op_names)
    rows = []
    for op, p in possible:
        fill = paint[space.op_names[op]][0]
        colour = "var(--line)" if fill == "none" else fill
        bar = element("i", style=f"width:{p:.1%};background:{colour}")
        rows.append(
            element(
                "li",
                element("span", label(space.op_names[op])),
                element("span", bar, cls="bar"),
                element("span", _percent(p), cls="n"),
                cls="drawn" if op == step.op else None,
            )
        )
    return element("ul", *rows, cls="bars", aria_label="Probability of each operation")


def _edges(step: TraceStep) -> list[Markup]:
    """Show the probability of the edge from every earlier node, and the mixture's weights."""
    if not any(step.free):
        text = "first node" if not step.free else "fixed by the space" if step.edges else "none"
        return [element("p", f"Incoming edges: {text}.", cls="note")]
    chips = []
    for source, (p, free) in enumerate(zip(step.edge_probability, step.free, strict=True)):
        if not free and source not in step.edges:
            continue  # forbidden
        taken = source in step.edges
        said = _percent(p) if free else "fixed"
        chips.append(
            element(
                "li",
                element("b", f"{source} →"),
                f" {said}",
                element("span", " drawn", cls="hidden") if taken else None,
                cls="chip drawn" if taken else "chip",
                style=f"--share:{min(1.0, p):.3f}",
            )
        )
    edges = element("ul", *chips, cls="chips", aria_label="Probability of each incoming edge")
    return [element("p", "Incoming edges", cls="note"), edges, *_mixture(step.weight)]


def _mixture(weights: Sequence[float]) -> list[Markup]:
    """Show the weights of the mixture's components, the largest first."""
    if len(weights) < 2:
        return []
    largest = sorted(weights, reverse=True)
    segments = [element("i", style=f"flex-grow:{w:.4f}") for w in largest if w >= 0.0005]
    cumulative = list(accumulate(largest))
    count = next(
        (i for i, c in enumerate(cumulative, start=1) if c >= _MIXTURE_SHOWN), len(largest)
    )
    shown = ", ".join(_percent(w) for w in largest[: min(count, 4)])
    more = f", {count - 4} smaller" if count > 4 else ""
    text = f"Mixture of {words.plural(len(weights), 'component')}: {shown}{more}"
    return [element("p", text, cls="note"), element("div", *segments, cls="mixture")]


def _sums(step: TraceStep, total: float) -> list[Markup]:
    terms = f"log p {_nats(step.log_op)} operation"
    if any(step.free):
        terms += f", {_nats(step.log_edges)} edges"
    return [join(terms, element("br")), element("b", f"so far {_nats(total)}")]


def _nats(value: float) -> str:
    rounded = f"{abs(value):.3f}"
    minus = "−" if value < 0 and float(rounded) != 0 else ""  # noqa: RUF001 (a minus sign)
    return minus + rounded


def _percent(p: float) -> str:
    if 0 < p < 0.005:
        return "<1%"
    return ">99%" if 0.995 < p < 1 and not math.isclose(p, 1, abs_tol=1e-6) else f"{p:.0%}"
