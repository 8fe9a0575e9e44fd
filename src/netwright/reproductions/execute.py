"""Carry an experiment out: every search in a run folder of its own, all seeds in lockstep.

The seeds of a method advance together, step by step, so that methods that train a network can
train those of all seeds as one stacked model. Each run stays a run like any other: killed at any
moment, it resumes exactly. Several processes share the methods and benchmarks, never the seeds of
one, so that their number changes no result.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from netwright.config.objects import make_design, make_evaluator, make_initial, make_space
from netwright.config.schema import RunConfig, TableConfig
from netwright.config.searchers import make_searcher, model_of
from netwright.progress import Chunk, Step
from netwright.reproductions.experiment import Cell, Experiment, run_config, run_folder
from netwright.reproductions.processes import Task, share_out
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.base import Searcher
from netwright.searchers.together import train_together
from netwright.spaces.base import Enumerable, SearchSpace
from netwright.tables.format import Table

#: What may differ between a run and the experiment it is found in: it changes no evaluation.
_FREE = ("budget", "workers")
#: Files, which are known by their checksums.
_PINNED = ("evaluator.path", "space.known", "method.model", "initial.table")
#: Searches that advance at the same time: what they wait for is the disk, at every step.
_THREADS = 16


class Progress(NamedTuple):
    """How far an experiment has come.

    Attributes:
        done: Evaluations of all runs.
        total: What they will be in the end.
        what: The method and the benchmark at work.
    """

    done: int
    total: int
    what: str


@dataclass(frozen=True)
class Search:
    """One search of an experiment: where it is and how many evaluations it is to have."""

    config: RunConfig
    folder: Path
    goal: int
    done: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.done >= self.goal


def carry_out(
    experiment: Experiment, folder: Path, *, tables: Path, workers: int = 1
) -> Iterator[Progress]:
    """Run every search that is not finished, yielding progress at every chunk of results.

    Nothing starts before all settings, tables and existing runs have been checked.

    Args:
        experiment: What to run.
        folder: Where the run folders are or will be, ``BENCHMARK/METHOD/seed-N``.
        tables: Where tables with a relative path are.
        workers: How many processes share the work, a method on a benchmark at a time.

    Raises:
        ValueError: If a setting is wrong, or a run in the folder was made with another one.
        FileNotFoundError: If a table is missing.
        BlockingIOError: If another process is at work on one of the runs.
        RuntimeError: If a worker process was killed, or failed.
    """
    plan = [(cell, _planned(experiment, cell, folder, tables)) for cell in experiment.cells]
    total = sum(search.goal for _, searches in plan for search in searches)
    done = sum(min(search.done, search.goal) for _, searches in plan for search in searches)
    tasks = [
        Task(f"{cell.method.label} on {cell.benchmark.name}", left)
        for cell, searches in plan
        if (left := [search for search in searches if not search.finished])
    ]
    yield Progress(done, total, tasks[0].what if tasks else "")
    if workers == 1 or len(tasks) < 2:
        events = _in_turn(tasks)
    else:
        events = share_out(tasks, _lockstep, min(workers, len(tasks)))
    with closing(events):
        for what, fresh in events:
            done += fresh
            yield Progress(done, total, what)


def _planned(experiment: Experiment, cell: Cell, folder: Path, tables: Path) -> list[Search]:
    """Check the searches of a method on a benchmark, and see how far each has come."""
    config = run_config(cell, experiment.first_seed, tables, design=experiment.design)
    space = make_space(config.space)
    table = _table(config)
    table.require(space)
    rungs = cell.benchmark.rungs if cell.method.eta else ()
    for column in (cell.benchmark.metric, *cell.benchmark.report.values(), *rungs):
        table.column(column)
    make_searcher(config.method, space, rng=stream(0, "searcher/init"))
    searches = []
    for seed in experiment.seeds_of(cell):
        mine = config.model_copy(update={"seed": seed})
        place = run_folder(folder, cell, seed)
        done = _progress(place, mine) if (place / "config.toml").exists() else 0
        goal = min(config.budget, _size(space, config.budget))
        searches.append(Search(mine, place, goal, done))
    return searches


def _in_turn(tasks: Sequence[Task]) -> Generator[tuple[str, int], None, None]:
    for task in tasks:
        for fresh in _lockstep(task.searches):
            yield task.what, fresh


def _lockstep(searches: list[Search]) -> Iterator[int]:
    """Advance searches step by step, together; yield the numbers of evaluations as they come."""
    if not searches:
        return
    config = searches[0].config
    space = make_space(config.space)
    evaluator = make_evaluator(config.evaluator, space)
    searchers: dict[int, Searcher] = {}
    running: dict[int, Generator[Chunk | Step, None, None]] = {}
    with ExitStack() as stack:
        for search in searches:
            seed = search.config.seed
            rng = stream(seed, "searcher/init")
            searchers[seed] = make_searcher(search.config.method, space, rng=rng)
            events = _opened(search).execute(
                space,
                searchers[seed],
                evaluator,
                budget=search.config.budget,
                batch_size=search.config.batch_size,
                seed=seed,
                initial=make_initial(search.config.initial, space, seed=seed),
                design=make_design(search.config.design, space, seed=seed),
            )
            running[seed] = stack.enter_context(closing(events))
        # Many threads of one thread each; the caller, which trains, keeps its own number.
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        crew = ThreadPoolExecutor(_THREADS, initializer=torch.set_num_threads, initargs=(1,))
        stack.enter_context(crew)
        while running:
            for seed, (fresh, ended) in zip(
                list(running), crew.map(_step, list(running.values())), strict=True
            ):
                if ended:
                    del running[seed]
                if fresh:
                    yield fresh
            train_together([searchers[seed] for seed in running])  # as one stacked model


def _step(events: Iterator[Chunk | Step]) -> tuple[int, bool]:
    """Advance a search by a step; return how many evaluations came in, and whether it ended."""
    fresh = 0
    for event in events:
        if isinstance(event, Step):
            return fresh, False
        fresh += len(event) if event.status == "evaluated" else 0
    return fresh, True


def _opened(search: Search) -> Run:
    """Open or make the run folder of a search."""
    if (search.folder / "config.toml").exists():
        run = Run.open(search.folder)
    else:
        run = Run.create(search.folder, search.config.resolved())
    _pin(run, search.config)
    return run


def _pin(run: Run, config: RunConfig) -> None:
    """Insist that a run is of one table, and of one fitted generator."""
    run.ledger.pin("table", _table(config).checksum)
    model = model_of(config.method)
    if model is not None:
        run.ledger.pin("model", model)


def _progress(folder: Path, config: RunConfig) -> int:
    """Return how many evaluations a run has, once it is certain that it is this run."""
    run = Run.open(folder)
    # A setting that came later than the run counts as its default, which is what was done before.
    stored = {name: run.config[name] for name in RunConfig.model_fields if name in run.config}
    known, wanted = _flat(RunConfig.parse(stored).resolved()), _flat(config.resolved())
    for name in sorted(known.keys() | wanted.keys()):
        if known.get(name) != wanted.get(name):
            raise ValueError(
                f"{folder} was made with {name} = {known.get(name)!r}, not {wanted.get(name)!r}: "
                "use another folder for the experiment, or delete this run"
            )
    _pin(run, config)
    return run.ledger.count()


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as ``a.b = value``, less those that may differ."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif prefix + name not in (*_FREE, *_PINNED):
            flat[prefix + name] = value
    return flat


def _table(config: RunConfig) -> Table:
    assert isinstance(config.evaluator, TableConfig)
    return Table.open(config.evaluator.path)


def _size(space: SearchSpace, otherwise: int) -> int:
    try:
        return space.size if isinstance(space, Enumerable) else otherwise
    except AttributeError:  # a space may not know its size
        return otherwise
