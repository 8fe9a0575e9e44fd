"""Searches of RandWire cells, the cells that methods answer with, and the training of these.

A search is a run like any other, and `netwright report` and `netwright resume` know it. All that
belongs to a method and a seed is in one folder, ``METHOD-REGIME-seed-N``: the run (``search``),
the answer (``answer.json``) and the trainings (``few``, ``more``, ``large``).
"""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from netwright.config.schema import RunConfig
from netwright.config.searchers import make_searcher
from netwright.files import write_atomic
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.experiment import slug
from netwright.reproductions.processes import Came
from netwright.reproductions.searches import executed, opened, result_of
from netwright.reproductions.trials import Plan, Setting, Trial, counted, said
from netwright.reproductions.wirings import (
    FIXED,
    Ground,
    Method,
    Regime,
    Scale,
    fully_connected,
    ground,
    methods,
)
from netwright.rng import stream
from netwright.runs.ledger import Row
from netwright.runs.run import Run
from netwright.searchers.base import Fresh, Proposals, Searcher
from netwright.searchers.graph_parameters import ParameterSearch
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.searchers.reinforce import Reinforce

#: What is trained beside what was found: every node of the cell takes all before it; and
#: `netwright.networks.resnet`, whose cells do not matter.
DENSE, RESNET = YARDSTICKS = ("FC", "ResNet-18-like")


@dataclass(frozen=True)
class Job:
    """All that belongs to a method and a seed; it can be pickled.

    Attributes:
        folder: Where the folders of methods and seeds are.
        label: Of the method, or a yardstick.
        seed: Of the search and all trainings.
        scale: As `ground` takes it, like the next ones.
        data: The images.
        cells: Of an architecture.
        device: Where networks are trained.
        regime: How candidates are trained.
        again: Whether the best network is trained again, and a larger one of its cell.
    """

    folder: Path
    label: str
    seed: int
    scale: Scale
    data: str | None = None
    cells: int = 1
    device: str = "auto"
    regime: Regime = "low data"
    again: bool = False

    @property
    def ground(self) -> Ground:
        """What is searched."""
        return _ground(self.scale, self.data, self.cells, self.device)

    @property
    def place(self) -> Path:
        """The folder of this method and seed."""
        name = f"{self.label}-{self.regime}-seed-{self.seed}"
        return self.folder / slug(self.ground.name) / slug(name)

    @property
    def size(self) -> int:
        """Number of trainings, about."""
        found = self.ground
        if self.label in (DENSE, RESNET):
            return 1
        searched = 0 if self.label == FIXED.label else found.evaluations
        return searched + 2 * found.samples + self.again * found.repeats


@cache  # it reads images
def _ground(scale: Scale, data: str | None, cells: int, device: str) -> Ground:
    return ground(scale, data, cells=cells, device=device)


class Done(NamedTuple):
    """What came of a job.

    Attributes:
        job: Which.
        rows: Evaluations of the search, repeats too.
        archs: The cells that the method answers with.
        few: Their trainings as in the search, of the first ``samples``.
        more: Their trainings on more data.
        best: All trainings on more data of the best of them by validation.
        large: The training of a larger network of the best cell, if there is one.
        plans: What was trained on more data, in the order of ``more`` and then of ``best``.
    """

    job: Job
    rows: list[Row]
    archs: list[str]
    few: list[Trial]
    more: list[Trial]
    best: list[Trial]
    large: list[Trial]
    plans: list[Plan]

    def said(self, i: int) -> Float[Tensor, "image class"]:
        """Return what the network of training ``i`` of ``plans`` says of the test images."""
        return said(self.plans[i], self.job.ground.space, self.job.place / "more")


def work(jobs: list[Job]) -> Iterator[Came]:
    """Do all that jobs take, as far as it is not on disk; yield trainings as they come.

    Raises:
        ValueError: If a folder holds work of another setting.
        BlockingIOError: If another process is at work in it.
    """
    for job in jobs:
        with closing(_done(job)) as events:
            yield from events


def read(job: Job) -> Done:
    """Return what came of a job; what is missing is made up for."""
    return result_of(_done(job))


def _done(job: Job) -> Generator[Came, None, Done]:
    on, space = job.ground, job.ground.space

    def trained(
        setting: Setting, name: str, plans: list[Plan]
    ) -> Generator[Came, None, list[Trial]]:
        return counted(plans, setting, space, job.place / name, keep=True)

    if job.label in (DENSE, RESNET):
        arch = fully_connected(space)
        setting = on.final if job.label == DENSE else on.resnet
        plans = [Plan(job.label, arch, job.seed)]
        more = yield from trained(setting, "more", plans)
        return Done(job, [], [arch], [], more, more, [], plans * 2)
    archs, rows = yield from _answered(job)
    plans = [Plan(job.label, arch, job.seed) for arch in archs[: on.samples]]
    few = yield from trained(on.regimes[job.regime], "few", plans)
    more = yield from trained(on.final, "more", plans)
    best = [i for i, trial in enumerate(more) if trial.error is None]
    if not best or not job.again:
        return Done(job, rows, archs, few, more, [], [], plans)
    chosen = plans[max(best, key=lambda i: more[i].valid)]
    repeated = [chosen._replace(repeat=i) for i in range(on.repeats)]
    again = yield from trained(on.final, "more", repeated)
    large = yield from trained(on.large, "large", [chosen])
    return Done(job, rows, archs, few, more, again, large, plans + repeated)


def _answered(job: Job) -> Generator[Came, None, tuple[list[str], list[Row]]]:
    """Search, or go on; return the answer, as given before if it was, and the evaluations."""
    path, on = job.place / "answer.json", job.ground
    if job.label == FIXED.label:
        model = RandomGraph(on.space.layout, model="ws", p=0.75, k=4)
        rng = stream(job.seed, "answer")
        return _distinct(on, lambda n: model.sample(n, rng=rng)), []
    (method,) = [m for m in methods_of(job) if m.label == job.label]
    events = search(on, method, job.seed, job.place / "search", regime=job.regime)
    run, searcher = yield from events
    rows = run.ledger.rows()
    if path.exists():  # the same numbers on another machine might round to other cells
        archs = json.loads(path.read_text(encoding="utf-8"))
    else:
        archs = answer(on, run, searcher, seed=job.seed)
        write_atomic(path, json.dumps(archs, indent=1) + "\n")
    return archs, rows


def methods_of(job: Job) -> list[Method]:
    """Return the methods that there are beside a job's own."""
    return methods(job.scale, job.ground.evaluations, cells=job.cells)


def search(
    on: Ground, method: Method, seed: int, place: Path, *, regime: Regime
) -> Generator[Came, None, tuple[Run, Searcher]]:
    """Search, or go on, until the evaluations are spent.

    Args:
        on: What to search.
        method: How.
        seed: Of the search.
        place: The run's folder.
        regime: How candidates are trained.

    Yields:
        Evaluations as they come in; first those of earlier lives.

    Returns:
        The run, and the searcher with what it has learned.

    Raises:
        ValueError: If the folder has a run of another setting.
        BlockingIOError: If another process searches in it.
    """
    options = {"scale": on.scale, "data": on.data, "cells": on.space.cells, "regime": regime}
    config = RunConfig.parse(
        {
            "space": {"name": "randwire", "nodes": on.space.nodes, "cells": on.space.cells},
            "method": method.settings,
            "evaluator": {"name": "netwright.reproductions.wirings:candidates", **options},
            "budget": on.evaluations,
            "batch_size": on.batch_size,
            "seed": seed,
        }
    )
    run = opened(place, config, training=on.regimes[regime].facts())
    searcher = make_searcher(config.method, on.space, rng=stream(seed, "searcher/init"))
    yield from executed(run, config, on.space, searcher, on.evaluator(regime))
    return run, searcher


def answer(on: Ground, run: Run, searcher: Searcher, *, seed: int) -> list[str]:
    """Return the ``on.drawn`` cells that a method answers with, each another.

    A generator, or the best random graph model, is sampled, as for table 1; a method that only
    keeps what it found, "TopK", answers with the best of that.
    """
    rng = stream(seed, "answer")
    if isinstance(searcher, Reinforce):
        policy = searcher.policy
        return _distinct(on, lambda n: policy.sample(n, rng=rng))
    if isinstance(searcher, RandomGraphSearch) and searcher.estimator == "best":
        model = searcher.best_model()
        return _distinct(on, lambda n: model.sample(n, rng=rng))
    if isinstance(searcher, ParameterSearch):
        best = searcher.best(rng=rng)
        return _distinct(on, lambda n: searcher.draw(best.expand(n, -1), rng=rng))
    return list(best_rows(run.ledger.rows()))[: on.drawn]


def _distinct(on: Ground, sample: Callable[[int], ArchitectureBatch]) -> list[str]:
    found = Fresh(on.space).fill(on.drawn, lambda n: Proposals.of(sample(n), "generator"))
    return on.space.to_text(found.archs)


def best_rows(rows: list[Row]) -> Iterator[str]:
    """Yield the architectures of a run, best first, each once."""
    scored = [row for row in rows if row.score is not None]
    yield from dict.fromkeys(
        row.arch for row in sorted(scored, key=lambda r: (-(r.score or 0), r.id))
    )
