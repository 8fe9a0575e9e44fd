"""What of a table may be learned from, and what is held out ([GNN2GNN] section 4.2).

The best architectures are held out, so that a generator which makes them has not seen them; of the
others, some at random. A split has the scores of its training rows only, and no way back to the
table.

The released code ranks by one random repeat of the training of each cell; here the metric is named.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.tables.format import Table


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows with their scores, and which rows are held out.

    Attributes:
        space_name: Name of the table's search space.
        metric: What was ranked by, and what the scores are.
        train: The training architectures, in random order.
        scores: Theirs. Of no other architecture is a score kept.
        train_rows: Their rows in the table.
        train_keys: Their keys, ascending: in the order of ``train_rows.sort()``.
        top_rows: The rows held out because they are the best, best first.
        random_rows: The rows held out at random.
        held_out_keys: Keys, ascending, of all architectures whose scores must not be learned
            from: those held out, and of a `nested` split those that the outer one holds out.
    """

    space_name: str
    metric: str
    train: ArchitectureBatch
    scores: Float[Tensor, " train"]
    train_rows: Int[Tensor, " train"]
    train_keys: Int[Tensor, "train 2"]
    top_rows: Int[Tensor, " top"]
    random_rows: Int[Tensor, " random"]
    held_out_keys: Int[Tensor, "held_out 2"]

    @property
    def held_out_rows(self) -> Int[Tensor, " rows"]:
        """The rows held out, ascending."""
        return torch.cat([self.top_rows, self.random_rows]).sort().values


def split(
    table: Table,
    metric: str,
    *,
    hold_out_top: float = 0.10,
    hold_out_random: float = 0.25,
    limit: int | None = None,
    rng: torch.Generator,
) -> Split:
    """Hold out the best rows of a table, and of the rest some at random ([GNN2GNN] section 4.2).

    Shares are rounded down to whole rows. Equal scores are ranked in the order of the table. Rows
    without a score are neither held out nor learned from.

    Args:
        table: The table.
        metric: The column to rank by, and to learn.
        hold_out_top: Share of the rows with a score.
        hold_out_random: Share of those that are left; a quarter in the released code.
        limit: Keeps no more training rows than that, the first of the random order: a larger
            limit keeps these and more.
        rng: Draws the order of the rows that are left.

    Raises:
        ValueError: If the table has no such column or no score in it, a share is not in [0, 1), or
            the limit leaves nothing.
    """
    column = table.column(metric)
    rows = (~column.isnan()).nonzero()[:, 0]
    if not len(rows):
        raise ValueError(f"{metric} has no value in any row of {table.path}: choose another metric")
    parts = _divided(column[rows], hold_out_top, hold_out_random, limit, rng)
    train, top, random = (rows[part] for part in parts)
    return Split(
        table.space_name,
        metric,
        table.archs(train),
        column[train],
        train,
        table.keys[train.sort().values],
        top,
        random,
        table.keys[torch.cat([top, random]).sort().values],
    )


def nested(
    outer: Split,
    *,
    hold_out_top: float = 0.10,
    hold_out_random: float = 0.25,
    limit: int | None = None,
    rng: torch.Generator,
) -> Split:
    """Split the training rows of a split once more, by the same rule.

    This is for choosing settings: everything, the best that is held out included, is known from
    training scores alone.

    Args:
        outer: The split.
        hold_out_top: As of `split`, like the next ones.
        hold_out_random: Share of those that are left.
        limit: Keeps no more training rows than that.
        rng: Draws the order of the rows that are left.

    Raises:
        ValueError: As `split`.
    """
    rows, order = outer.train_rows.sort()
    train, top, random = _divided(outer.scores[order], hold_out_top, hold_out_random, limit, rng)
    held_out = torch.cat([outer.held_out_keys, outer.train_keys[top], outer.train_keys[random]])
    return Split(
        outer.space_name,
        outer.metric,
        outer.train[order[train]],
        outer.scores[order[train]],
        rows[train],
        outer.train_keys[train.sort().values],
        rows[top],
        rows[random],
        hashing.distinct(held_out),
    )


def _divided(
    scores: Float[Tensor, " row"],
    hold_out_top: float,
    hold_out_random: float,
    limit: int | None,
    rng: torch.Generator,
) -> tuple[Int[Tensor, " train"], Int[Tensor, " top"], Int[Tensor, " random"]]:
    """Positions of the training rows, of the best and of those held out at random."""
    for name, share in (("hold_out_top", hold_out_top), ("hold_out_random", hold_out_random)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is a share of the rows: give 0 <= {name} < 1, not {share}")
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of {limit} leaves no training rows: give 1 at least")
    ranked = scores.argsort(descending=True, stable=True)
    best = _whole(hold_out_top, len(ranked))
    rest = ranked[best:].sort().values
    rest = rest[torch.randperm(len(rest), generator=rng)]
    drawn = _whole(hold_out_random, len(rest))
    train = rest[drawn:] if limit is None else rest[drawn:][:limit]
    return train, ranked[:best], rest[:drawn]


def _whole(share: float, rows: int) -> int:
    """The largest number of rows that is no more than a share of them: 29 for 0.29 of 100."""
    below = int(share * rows)  # 28.999...
    return below + ((below + 1) / rows <= share)
