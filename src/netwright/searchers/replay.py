"""The replay buffer: what was told, the best of it to train on."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch


class ReplayBuffer:
    """Every architecture told with a score, once, with its newest score ([GraphPNAS] 3.2).

    All are kept, since one that falls below the best today may be among them tomorrow: scores
    change where the evaluator learns, and how many count as best may grow with the search.

    Args:
        max_nodes: Padded size of the graphs.
    """

    def __init__(self, max_nodes: int) -> None:
        self._archs = ArchitectureBatch.empty(max_nodes)
        self._score = torch.zeros(0, dtype=torch.float64)
        self._row: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._score)

    def add(
        self,
        archs: ArchitectureBatch,
        score: Float[Tensor, " batch"],
        drawing: ArchitectureBatch | None = None,
    ) -> None:
        """Take in scores; those that are not finite (failures) leave the buffer as it was.

        Args:
            archs: The architectures.
            score: Their scores.
            drawing: Graphs to keep, and to train on, in their place.
        """
        ok = score.isfinite()
        archs, score = archs[ok], score[ok].double()
        drawing = archs if drawing is None else drawing[ok]
        rows, first = [], []
        for i, (hi, lo) in enumerate(hashing.keys(archs).tolist()):
            if (hi, lo) not in self._row:
                self._row[hi, lo] = len(self._row)
                first.append(i)
            rows.append(self._row[hi, lo])
        newest = dict(zip(rows, score.tolist(), strict=True))
        self._archs = ArchitectureBatch.cat([self._archs, drawing[torch.tensor(first).long()]])
        self._score = torch.cat([self._score, self._score.new_zeros(len(first))])
        self._score[list(newest)] = self._score.new_tensor(list(newest.values()))

    def best(self, n: int) -> tuple[ArchitectureBatch, Float[Tensor, " kept"]]:
        """Return up to ``n`` architectures with their scores, best first; of equals the older."""
        order = self._score.argsort(descending=True, stable=True)[:n]
        return self._archs[order], self._score[order]

    def state_dict(self) -> dict[str, Any]:
        """Return graphs and scores in the order in which they were first told."""
        graphs = {"ops": self._archs.ops, "adj": self._archs.adj}
        rows = torch.tensor(list(self._row), dtype=torch.long).view(-1, 2)
        return {
            **graphs,
            "num_nodes": self._archs.num_nodes,
            "score": self._score.clone(),
            "keys": rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._archs = ArchitectureBatch(state["ops"], state["adj"], state["num_nodes"])
        self._score = state["score"].clone()
        self._row = {(hi, lo): row for row, (hi, lo) in enumerate(state["keys"].tolist())}
