"""Look scores up in a tabular benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netwright.evaluation import Evaluation
from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Table


@dataclass(eq=False)
class TableEvaluator:
    """Scores architectures with a metric of a table.

    The cost of ``dataset/split@epochs`` is the column ``dataset/train-seconds@epochs``, in
    seconds; 0 where the table has no such column or no value in it. Extras are the named columns
    and, if the table has it, ``parameters``; this is where test accuracy goes, which no searcher
    sees.

    Args:
        table: The table.
        space: The space of the architectures; the table's, or a smaller version of it.
        metric: The column to maximise. A row without a value is a failed evaluation.
        extras: Columns to report beside it.
        chunk: How many architectures to look up at a time.

    Raises:
        ValueError: If the table is of another space or has no such column.
    """

    table: Table
    space: SearchSpace
    metric: str
    extras: tuple[str, ...] = ()
    chunk: int = 1 << 16

    def __post_init__(self) -> None:
        self.table.require(self.space)
        has_size = ("parameters",) if "parameters" in self.table.metrics else ()
        self._columns = {n: self.table.column(n) for n in (*self.extras, *has_size)}
        self._score = self.table.column(self.metric)
        dataset, _, rest = self.metric.partition("/")
        seconds = f"{dataset}/train-seconds@{rest.partition('@')[2]}"
        self._seconds = self.table.column(seconds) if seconds in self.table.metrics else None

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:  # noqa: ARG002 (nothing is random here)
        """Look every architecture up.

        Raises:
            ValueError: If an architecture is not in the table.
        """
        row = self.table.lookup(self.space.keys(archs)).cpu()
        for i in (row < 0).nonzero()[:, 0].tolist():
            one = archs[i : i + 1].to("cpu")
            reason = self.space.invalid_reason(one) or f"no row of {self.table.path}"
            raise ValueError(f"{self.space.to_text(one)[0]} cannot be looked up: {reason}")
        score = self._score[row]
        cost = torch.zeros_like(score) if self._seconds is None else self._seconds[row].nan_to_num()
        return Evaluation(
            score.to(archs.device),
            cost.to(archs.device),
            {name: column[row].to(archs.device) for name, column in self._columns.items()},
            tuple("no measurement" if nan else None for nan in score.isnan().tolist()),
        )
