"""Searches that an item of a paper takes: in run folders, one after another, told as they go."""

import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from netwright.config.schema import RunConfig
from netwright.evaluation import Evaluator, TrainableEvaluator
from netwright.progress import Chunk
from netwright.reproductions.processes import Came
from netwright.runs.run import Run
from netwright.searchers.base import Searcher
from netwright.spaces.base import SearchSpace

_Result = TypeVar("_Result")


def opened(place: Path, config: RunConfig, **facts: Any) -> Run:
    """Open a run folder, or make it.

    Args:
        place: The folder.
        config: Of the search.
        **facts: What else decides results, and is noted beside the settings.

    Raises:
        ValueError: If the folder has a run of another setting.
    """
    wanted = json.loads(json.dumps(config.resolved() | facts))  # as TOML gives it back: no tuples
    if not (place / "config.toml").exists():
        return Run.create(place, wanted)
    run = Run.open(place)
    if run.config != wanted:
        raise ValueError(f"{place} is a search of another setting: name another folder")
    return run


def executed(
    run: Run,
    config: RunConfig,
    space: SearchSpace,
    searcher: Searcher,
    evaluator: Evaluator | TrainableEvaluator,
) -> Generator[Came, None, None]:
    """Search, or go on, until the budget is spent; yield the evaluations that have come in.

    Those of earlier lives come first. The searcher, and an evaluator that learns, are in the end as
    the search has left them.

    Raises:
        BlockingIOError: If another process searches in the folder.
    """
    yield Came(run.ledger.count(), fresh=False)
    events = run.execute(
        space,
        searcher,
        evaluator,
        budget=config.budget,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Chunk) and event.status == "evaluated":
                yield Came(len(event), fresh=True)


def result_of(events: Generator[Any, None, _Result]) -> _Result:
    """Run a generator to its end, and return what it returns."""
    try:
        while True:
            next(events)
    except StopIteration as end:
        found: _Result = end.value
        return found
