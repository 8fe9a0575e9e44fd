"""Evaluate each distinct architecture once."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch


@dataclass(eq=False)
class Cached:
    """Evaluates each distinct architecture once; repeats return the same result at no cost.

    Distinct means by key, so renumbering an architecture's nodes makes no new one. Failed
    evaluations are remembered like any other; an evaluator that raises is asked again. Several
    threads may call at once: a thread that wants what another is evaluating waits for it.

    Args:
        evaluator: Does the work. Not one whose scores change over time (a supernet).
    """

    evaluator: Evaluator
    chunk: int = field(init=False)
    _known: dict[str, Future[Evaluation]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.chunk = self.evaluator.chunk

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture, calling the inner evaluator on those not seen before."""
        if not len(archs):
            return self.evaluator(archs, rngs=rngs)
        keys = hashing.to_hex(hashing.keys(archs))
        with self._lock:
            mine = {}  # key -> the first place it stands at in this batch
            for i, key in enumerate(keys):
                if key not in self._known:
                    self._known[key], mine[key] = Future(), i
            wanted = [self._known[key] for key in keys]
        if mine:
            self._evaluate(archs, rngs, mine)
        first = set(mine.values())
        results = [future.result() for future in wanted]
        return Evaluation.cat([r if i in first else _free(r) for i, r in enumerate(results)])

    def _evaluate(
        self, archs: ArchitectureBatch, rngs: Sequence[torch.Generator], mine: dict[str, int]
    ) -> None:
        places = list(mine.values())
        try:
            index = torch.tensor(places, device=archs.device)
            fresh = self.evaluator(archs[index], rngs=[rngs[i] for i in places])
            results = [fresh[i : i + 1] for i in range(len(places))]
        except BaseException as error:
            with self._lock:
                futures = [self._known.pop(key) for key in mine]
            for future in futures:
                future.set_exception(error)
            raise
        for key, result in zip(mine, results, strict=True):
            self._known[key].set_result(result)


def _free(result: Evaluation) -> Evaluation:
    return replace(result, cost=torch.zeros_like(result.cost))
