"""The search loop: the only place where searchers and evaluators meet.

`search` knows no disk. It yields every chunk of results before the next one starts, so that a
caller can commit what was paid for, and a `Step` after every `tell`, at which the caller can save
the state of the search.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.base import Proposals, Searcher

Mode = Literal["batch", "asynchronous"]
Status = Literal["evaluated", "recalled", "repeat", "initial"]

#: Steps without a single new architecture after which a searcher counts as stuck.
PATIENCE = 100


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results that have just come in.

    Attributes:
        step: The ask/tell round they belong to, from 0.
        index: Number of each evaluation, from 0: it names the random stream it drew from. That
            of the first evaluation for a repeat; -1 for initial labels.
        proposals: The architectures and their origins.
        evaluation: Their results.
        status: "evaluated" now; "recalled" from an earlier life of this search; "repeat" of an
            architecture evaluated before (free); "initial", known before the search.
    """

    step: int
    index: tuple[int, ...]
    proposals: Proposals
    evaluation: Evaluation
    status: Status


@dataclass(frozen=True)
class Step:
    """The searcher has been told the results of a step; its state is consistent.

    Attributes:
        step: The ask/tell round, from 0.
        evaluations: Distinct architectures evaluated so far.
        stats: What the searcher has to say of itself.
    """

    step: int
    evaluations: int
    stats: dict[str, float]


@dataclass
class Progress:
    """How far a search has come: with the searcher's own state, all it takes to go on.

    Attributes:
        step: Steps told.
        rng: The searcher's random stream.
        done: Every result so far by architecture key: number, proposal and evaluation.
        told: Numbers of the evaluations the searcher has been told.
    """

    rng: torch.Generator
    step: int = 0
    done: dict[str, tuple[int, Proposals, Evaluation]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)

    @classmethod
    def start(cls, seed: int) -> "Progress":
        """The beginning of the search called ``seed``."""
        return cls(stream(seed, "searcher"))

    def state_dict(self) -> dict[str, Any]:
        """Return what results on disk do not tell: the step, the random state, who was told."""
        told = torch.tensor(sorted(self.told), dtype=torch.long)
        return {"step": self.step, "rng": self.rng.get_state(), "told": told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.told = state["step"], set(state["told"].tolist())
        self.rng.set_state(state["rng"])

    def recall(self, index: int, proposal: Proposals, evaluation: Evaluation) -> None:
        """Take in one result of an earlier life of this search."""
        self.done[_key(proposal.archs)] = (index, proposal, evaluation)

    def untold(self) -> list[tuple[int, Proposals, Evaluation]]:
        """Results in hand that the searcher has not been told, by number."""
        late = (entry for entry in self.done.values() if entry[0] not in self.told)
        return sorted(late, key=lambda entry: entry[0])


def search(
    searcher: Searcher,
    evaluator: Evaluator,
    *,
    budget: int,
    batch_size: int,
    seed: int,
    workers: int = 1,
    mode: Mode = "batch",
    initial: tuple[ArchitectureBatch, torch.Tensor] | None = None,
    progress: Progress | None = None,
) -> Iterator[Chunk | Step]:
    """Spend ``budget`` evaluations on distinct architectures, yielding results as they come.

    Evaluation ``i`` draws from ``stream(seed, f"evaluation/{i}")``, whatever the order and the
    number of workers.

    Args:
        searcher: Proposes and learns.
        evaluator: Scores; called from ``workers`` threads at once if there are several.
        budget: How many distinct architectures to evaluate, those in ``progress`` included.
        batch_size: How many architectures a step asks for (batch mode).
        seed: Of this search.
        workers: How many chunks are evaluated at the same time.
        mode: "batch" tells a whole step at once and repeats bit for bit; "asynchronous" tells
            each result as it comes and asks for another, so that no worker waits.
        initial: Architectures whose scores are known; told first, not part of the budget.
        progress: Where an earlier life of this search stood; brought up to date in place.

    Raises:
        RuntimeError: If the searcher proposes nothing new for `PATIENCE` steps.
        ValueError: On a budget, batch size or number of workers below 1.
    """
    for name, value in (("budget", budget), ("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    progress = progress if progress is not None else Progress.start(seed)
    loop = _Loop(searcher, evaluator, budget, seed, progress)
    if initial is not None and progress.step == 0 and not progress.told:
        yield from loop.tell_initial(*initial)
    with ThreadPoolExecutor(workers, thread_name_prefix="evaluation") as pool:
        try:
            if mode == "batch":
                yield from loop.batches(pool, batch_size)
            else:
                yield from loop.stream_of(pool, workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class _Loop:
    searcher: Searcher
    evaluator: Evaluator
    budget: int
    seed: int
    progress: Progress
    idle: int = 0

    def tell_initial(self, archs: ArchitectureBatch, score: torch.Tensor) -> Iterator[Chunk | Step]:
        known = Evaluation(score, torch.zeros_like(score))
        proposals = Proposals.of(archs, "initial")
        yield Chunk(0, (-1,) * len(archs), proposals, known, "initial")
        self.searcher.tell(archs, score, rng=self.progress.rng)
        yield self.end_of_step()

    def batches(self, pool: ThreadPoolExecutor, batch_size: int) -> Iterator[Chunk | Step]:
        """Ask for a batch, evaluate all of it, tell all of it."""
        done, told = self.progress.done, self.progress.told
        while (left := self.budget - len(told)) > 0:
            proposals = self.searcher.ask(min(batch_size, left), rng=self.progress.rng)
            if not len(proposals):
                return  # the space is exhausted
            names = [_key(proposals.archs[i : i + 1]) for i in range(len(proposals))]
            counter, fresh = max(told, default=-1) + 1, dict[str, int]()
            for i, name in enumerate(names):
                if name not in fresh and (name not in done or done[name][0] not in told):
                    fresh[name] = i
            taken = {entry[0] for name, entry in done.items()}
            numbers = {}
            for name in fresh:
                if name in done:
                    numbers[name] = done[name][0]
                else:
                    numbers[name] = counter if counter not in taken else max(taken) + 1
                    taken.add(numbers[name])
                counter += 1
            recalled = [i for name, i in fresh.items() if name in done]
            new = [i for name, i in fresh.items() if name not in done]
            repeats = [i for i, name in enumerate(names) if fresh.get(name) != i]
            for i in recalled:
                index, _, evaluation = done[names[i]]
                yield self.chunk([i], proposals, (index,), evaluation, "recalled")
            order = [numbers[names[i]] for i in new]
            yield from self.evaluate(pool, proposals[torch.tensor(new, dtype=torch.long)], order)
            for i in repeats:
                index, _, evaluation = done[names[i]]
                free = Evaluation(
                    evaluation.score, torch.zeros(1), evaluation.extras, evaluation.error
                )
                yield self.chunk([i], proposals, (index,), free, "repeat")
            score = torch.cat([done[name][2].score for name in names])
            self.searcher.tell(proposals.archs, score, rng=self.progress.rng)
            told.update(numbers.values())
            # Paid for in an earlier life that proposed otherwise (another number of threads).
            late = self.progress.untold()
            if late:
                archs = ArchitectureBatch.cat([entry[1].archs for entry in late])
                score = torch.cat([entry[2].score for entry in late])
                self.searcher.tell(archs, score, rng=self.progress.rng)
                told.update(entry[0] for entry in late)
            self.check_patience(bool(fresh or late))
            yield self.end_of_step()

    def stream_of(self, pool: ThreadPoolExecutor, workers: int) -> Iterator[Chunk | Step]:
        """Keep all workers busy; tell each result as it comes."""
        done, told, rng = self.progress.done, self.progress.told, self.progress.rng
        for index, proposal, evaluation in self.progress.untold():
            self.searcher.tell(proposal.archs, evaluation.score, rng=rng)
            told.add(index)
            yield self.end_of_step()
        running: dict[Future[Evaluation], tuple[int, Proposals]] = {}
        exhausted = False
        while True:
            while (
                not exhausted and len(running) < workers and len(told) + len(running) < self.budget
            ):
                proposal = self.searcher.ask(1, rng=rng)
                exhausted = not len(proposal)
                if exhausted:
                    break
                name = _key(proposal.archs)
                if name in done:
                    index, _, evaluation = done[name]
                    yield Chunk(self.progress.step, (index,), proposal, evaluation, "repeat")
                    self.searcher.tell(proposal.archs, evaluation.score, rng=rng)
                    self.check_patience(False)
                    yield self.end_of_step()
                    continue
                busy = {number for number, _ in running.values()}
                index = max(told | busy, default=-1) + 1
                running[self.submit(pool, proposal, [index])] = (index, proposal)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index, proposal = running.pop(future)
                evaluation = future.result()
                self.progress.recall(index, proposal, evaluation)
                yield Chunk(self.progress.step, (index,), proposal, evaluation, "evaluated")
                self.searcher.tell(proposal.archs, evaluation.score, rng=rng)
                told.add(index)
                self.check_patience(True)
                yield self.end_of_step()

    def evaluate(
        self, pool: ThreadPoolExecutor, proposals: Proposals, order: list[int]
    ) -> Iterator[Chunk]:
        """Evaluate chunk by chunk, in the pool; yield in the order of completion.

        One worker's next chunk is submitted only when its result has been yielded.
        """
        size, workers = self.evaluator.chunk, pool._max_workers
        waiting = [list(range(i, min(i + size, len(order)))) for i in range(0, len(order), size)]
        running: dict[Future[Evaluation], list[int]] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                part = waiting.pop(0)
                chosen = proposals[torch.tensor(part)]
                running[self.submit(pool, chosen, [order[i] for i in part])] = part
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                part = running.pop(future)
                evaluation = future.result()
                for row, i in enumerate(part):
                    one = torch.tensor([i])
                    self.progress.recall(order[i], proposals[one], evaluation[row : row + 1])
                numbers = tuple(order[i] for i in part)
                yield self.chunk(part, proposals, numbers, evaluation, "evaluated")

    def submit(
        self, pool: ThreadPoolExecutor, proposals: Proposals, order: list[int]
    ) -> Future[Evaluation]:
        rngs = [stream(self.seed, f"evaluation/{index}") for index in order]
        return pool.submit(self.evaluator, proposals.archs, rngs=rngs)

    def chunk(
        self,
        rows: list[int],
        proposals: Proposals,
        index: tuple[int, ...],
        evaluation: Evaluation,
        status: Status,
    ) -> Chunk:
        picked = proposals[torch.tensor(rows)]
        return Chunk(self.progress.step, index, picked, evaluation, status)

    def check_patience(self, found: bool) -> None:
        self.idle = 0 if found else self.idle + 1
        if self.idle >= PATIENCE:
            raise RuntimeError(
                f"the searcher proposed nothing new in {PATIENCE} steps: lower the budget, "
                "or make its `ask` skip architectures it has seen"
            )

    def end_of_step(self) -> Step:
        self.progress.step += 1
        return Step(self.progress.step - 1, len(self.progress.told), self.searcher.stats())


def _key(arch: ArchitectureBatch) -> str:
    return hashing.to_hex(hashing.keys(arch))[0]
