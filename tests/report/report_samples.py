"""Runs with made-up results, and a reader of the pages made of them."""

import json
import math
from html.parser import HTMLParser

import torch

from netwright.evaluation import Evaluation
from netwright.graphs import hashing
from netwright.progress import Chunk, Step
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.runs.samples import Draw, Samples, SampleTrace, TraceStep
from netwright.searchers.base import Proposals

VOID = {"meta", "link", "input", "br"}


def config(space="nasbench101", budget=40, **changes):
    return {
        "space": {"name": space},
        "method": {"name": "graphpnas", "hidden": 32, "explorer": {"model": "er", "without": []}},
        "evaluator": {"name": "train", "dataset": "digits"},
        "budget": budget,
        "seed": 7,
    } | changes


def make_run(folder, space, scores, *, settings=None, origins=None, extras=None, errors=None):
    """A run whose evaluation i scored ``scores[i]``, and up to four steps of ten."""
    run = Run.create(folder, config(space.name, len(scores)) if settings is None else settings)
    archs = space.sample(len(scores), rng=stream(0, "archs"))
    origins = origins or [("explorer", "generator")[i % 2] for i in range(len(scores))]
    errors = errors or ["the loss is NaN" if math.isnan(s) else None for s in scores]
    every = {"parameters": torch.arange(len(scores)) + 1000.0} if extras is None else extras
    if scores:
        result = Evaluation(
            torch.tensor(scores), torch.full((len(scores),), 2.0), every, tuple(errors)
        )
        log(run, space, range(len(scores)), Proposals(archs, tuple(origins)), result, "evaluated")
    for step in range(min(4, len(scores) // 10)):
        stats = {"epsilon": 1 / (step + 1), "entropy": math.nan if step == 0 else 5.0 - step}
        run.ledger.append_step(Step(step, 10 * (step + 1), stats))
    return run


def repeat(run, space, row):
    """Log a free repeat of an evaluation."""
    proposals = Proposals.of(space.from_text([row.arch]), row.origin)
    log(run, space, [row.index], proposals, known([row.score]), "repeat")


def initial(run, space, scores):
    """Log labels known before the search."""
    archs = space.sample(len(scores), rng=stream(1, "initial"))
    log(run, space, [-1] * len(scores), Proposals.of(archs, "initial"), known(scores), "initial")


def known(scores):
    return Evaluation(torch.tensor(scores), torch.zeros(len(scores)))


def log(run, space, numbers, proposals, result, status):
    archs = proposals.archs
    keys = tuple(hashing.to_hex(space.keys(archs)))
    chunk = Chunk(0, tuple(numbers), keys, proposals, result, status)
    run.ledger.append(chunk, space.to_text(archs))


def samples_of(space, texts):
    """Samples with these valid architectures, None being an invalid one, and a trace."""
    ops = len(space.op_names)
    uniform = (1 / ops,) * ops
    log_op = -math.log(ops)
    steps = [
        TraceStep(
            op=i % ops,
            op_probability=uniform,
            edges=tuple(range(i)),
            edge_probability=(0.5,) * i,
            free=(True,) * i,
            weight=(0.75, 0.25),
            log_op=log_op,
            log_edges=-i * math.log(2),
        )
        for i in range(3)
    ]
    draws = [
        Draw(
            arch=text,
            key=None if text is None else f"{hash(text) & 0xFFFF:032x}",
            density=None if text is None else 0.9 if i % 2 else 0.5,
            log_prob=-2.0 - i,
        )
        for i, text in enumerate(texts)
    ]
    total = math.fsum(step.log_op + step.log_edges for step in steps)
    trace = SampleTrace(steps=tuple(steps), log_prob=total)
    return Samples(last_row=1, draws=tuple(draws), trace=trace)


class Page(HTMLParser):
    """What a page holds: raises on tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.scripts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            (self.scripts if "script" in self.open else self.texts).append(data)

    def all(self, tag, **wanted):
        """Attributes of the elements that have these."""
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def charts(self):
        """The specifications of the charts."""
        start = [s for s in self.scripts if s.startswith("{")]
        return json.loads(start[0]) if start else {}
