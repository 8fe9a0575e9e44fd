"""Searches with shared weights, what generators answer with, and the training of that.

A search is a run like any other, and `netwright report` and `netwright resume` know it. All that
belongs to a method and a seed is in one folder, ``METHOD-seed-N``: the run (``search``), what the
generator answers with and what the shared weights say (``answer.json``), and the trainings
(``short``, ``full``, ``large``).
"""

import json
import statistics
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from netwright.config.schema import RunConfig
from netwright.config.searchers import make_searcher
from netwright.evaluators.supernet import SupernetEvaluator
from netwright.files import write_atomic
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.experiment import slug
from netwright.reproductions.processes import Came
from netwright.reproductions.searches import executed, opened, result_of
from netwright.reproductions.shared_weights import DENSITY, Ground, ground, layers_of, methods
from netwright.reproductions.trials import Plan, Setting, Trial, counted
from netwright.reproductions.wirings import Scale
from netwright.rng import stream
from netwright.runs.ledger import Row
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.reinforce import Reinforce

#: The random architectures that are trained by themselves, to see what shared weights say of them.
RANDOM = "random architectures"


@dataclass(frozen=True)
class Job:
    """All that belongs to a method and a seed, or `RANDOM`; it can be pickled.

    Attributes:
        folder: Where the folders of methods and seeds are.
        label: Of the method.
        seed: Of the search and all trainings.
        scale: As `ground` takes it, like the next ones.
        data: The images.
        device: Where networks are trained.
        large: Whether the finalists are trained with more channels too.
    """

    folder: Path
    label: str
    seed: int
    scale: Scale
    data: str | None = None
    device: str = "auto"
    large: bool = True

    @property
    def ground(self) -> Ground:
        """What is searched."""
        return _ground(self.scale, self.data, self.device)

    @property
    def place(self) -> Path:
        """The folder of this method and seed."""
        return self.folder / slug(self.ground.name) / slug(f"{self.label}-seed-{self.seed}")

    @property
    def size(self) -> int:
        """Number of scores and trainings."""
        on = self.ground
        if self.label == RANDOM:
            return on.random
        return on.evaluations + on.samples + (1 + self.large) * on.finalists


@cache  # it reads images
def _ground(scale: Scale, data: str | None, device: str) -> Ground:
    return ground(scale, data, device=device)


class Answer(NamedTuple):
    """What a generator answers with, and what the weights it shared say in the end.

    Attributes:
        archs: Its samples.
        random: The scores of the random architectures.
        bias: Mean scores of samples before and after the weights were trained with some of them at
            the learning rate of the middle of the search: of those, "trained", and of as many
            "others".
    """

    archs: list[str]
    random: list[float]
    bias: dict[str, list[float]]


class Done(NamedTuple):
    """What came of a job.

    Attributes:
        job: Which.
        rows: Scores of the search, repeats too.
        answer: Of the generator; its samples alone for `RANDOM`.
        short: Trainings of the samples.
        finalists: The best of them.
        full: Their trainings.
        large: Those with more channels, if there are any.
    """

    job: Job
    rows: list[Row]
    answer: Answer
    short: list[Trial]
    finalists: list[str]
    full: list[Trial]
    large: list[Trial]


def jobs(base: Job, seeds: Any) -> list[Job]:
    """Return the random architectures, and each method with each seed."""
    names = methods(base.scale, base.ground)
    random = replace(base, label=RANDOM, seed=0)
    return [random, *(replace(base, label=name, seed=seed) for name in names for seed in seeds)]


def work(todo: list[Job]) -> Iterator[Came]:
    """Do all that jobs take, as far as it is not on disk; yield scores and trainings as they come.

    Raises:
        ValueError: If a folder holds work of another setting.
        BlockingIOError: If another process is at work in it.
    """
    for job in todo:
        with closing(_done(job)) as events:
            yield from events


def read(job: Job) -> Done:
    """Return what came of a job; what is missing is made up for."""
    return result_of(_done(job))


def _done(job: Job) -> Generator[Came, None, Done]:
    on = job.ground

    def trained(
        setting: Setting, name: str, archs: list[str]
    ) -> Generator[Came, None, list[Trial]]:
        plans = [Plan(job.label, arch, job.seed) for arch in archs]
        return counted(plans, setting, on.space, job.place / name)

    if job.label == RANDOM:
        archs = on.space.to_text(random_architectures(on))
        short = yield from trained(on.short, "short", archs)
        return Done(job, [], Answer(archs, [], {}), short, [], [], [])
    given, rows = yield from _answered(job)
    short = yield from trained(on.short, "short", given.archs)
    known = [i for i, trial in enumerate(short) if trial.error is None]
    best = sorted(known, key=lambda i: -short[i].valid)[: on.finalists]
    finalists = [given.archs[i] for i in best]
    full = yield from trained(on.full, "full", finalists)
    large = (yield from trained(on.large, "large", finalists)) if job.large else []
    return Done(job, rows, given, short, finalists, full, large)


def random_architectures(on: Ground) -> ArchitectureBatch:
    """Return the random architectures, the same for all methods and seeds."""
    model = RandomGraph(on.space.layout, p=DENSITY)
    rng = stream(0, "random architectures")
    drawn = Fresh(on.space).fill(
        on.random, lambda n: Proposals.of(model.sample(n, rng=rng), "random")
    )
    return drawn.archs


def _answered(job: Job) -> Generator[Came, None, tuple[Answer, list[Row]]]:
    """Search, or go on; return the answer, as given before if it was, and the scores."""
    on, path = job.ground, job.place / "answer.json"
    options = {"scale": on.scale, "data": on.data}
    config = RunConfig.parse(
        {
            "space": {"name": "enas", "layers": layers_of(on.space)},
            "method": methods(job.scale, on)[job.label],
            "evaluator": {"name": "netwright.reproductions.shared_weights:supernet", **options},
            "budget": on.evaluations,
            "batch_size": on.batch_size,
            "seed": job.seed,
        }
    )
    run = opened(job.place / "search", config)
    if path.exists():
        yield Came(on.evaluations, fresh=False)
        return Answer(**json.loads(path.read_text(encoding="utf-8"))), run.ledger.rows()
    searcher = make_searcher(config.method, on.space, rng=stream(job.seed, "searcher/init"))
    assert isinstance(searcher, Reinforce)
    evaluator = on.evaluator(job.device)
    yield from executed(run, config, on.space, searcher, evaluator)
    found = _answer(on, searcher, evaluator, seed=job.seed)
    write_atomic(path, json.dumps(found._asdict(), indent=1) + "\n")
    return found, run.ledger.rows()


def _answer(on: Ground, searcher: Reinforce, evaluator: SupernetEvaluator, *, seed: int) -> Answer:
    rng, policy = stream(seed, "answer"), searcher.policy

    def samples(n: int) -> ArchitectureBatch:
        fresh = Fresh(on.space)
        return fresh.fill(n, lambda m: Proposals.of(policy.sample(m, rng=rng), "generator")).archs

    def scores(archs: ArchitectureBatch) -> list[float]:
        rngs = [stream(seed, "answer/score")] * len(archs)  # nothing is random in a score
        return [float(score) for score in evaluator(archs, rngs=rngs).score]

    archs = on.space.to_text(samples(on.samples))
    random = scores(random_architectures(on))
    both = samples(2 * on.batch_size)
    half = len(both) // 2
    groups = {"trained": both[:half], "others": both[half:]}
    before = {name: statistics.fmean(scores(group)) for name, group in groups.items()}
    order = torch.arange(evaluator.train_size) % max(1, half)
    state = evaluator.state_dict()  # in the end the learning rate is too small to show anything
    evaluator.load_state_dict(state | {"steps": state["steps"] // 2})
    evaluator.train(groups["trained"][order], rng=stream(seed, "answer/train"))
    bias = {name: [before[name], statistics.fmean(scores(group))] for name, group in groups.items()}
    return Answer(archs, random, bias)
