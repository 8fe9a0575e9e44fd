"""``samples.json``: what a run's generator draws when the search has ended.

The file is written by who has the generator and read by who has not, a report for one.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from netwright.files import write_atomic

#: A graph is dense if more than this share of the pairs of its nodes is joined by an edge.
DENSE = 0.8

_Probability = Annotated[float, Field(ge=0, le=1.00001)]  # sums in single precision
_Index = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Draw(_Strict):
    """One graph drawn.

    Attributes:
        arch: The architecture, simplified, in the space's notation; None if it is invalid.
        key: Isomorphism-invariant, 32 hexadecimal digits; None if it is invalid.
        density: Share of the pairs of its nodes that are joined; None if it is invalid.
        log_prob: Of the graph as it was drawn, in nats; None where the generator cannot tell.
    """

    arch: str | None
    key: str | None
    density: _Probability | None
    log_prob: FiniteFloat | None


class TraceStep(_Strict):
    """How one node was added; node j of ``edge_probability`` and ``free`` is an earlier node.

    Attributes:
        op: The operation drawn.
        op_probability: Of every operation.
        edges: The earlier nodes an edge comes from.
        edge_probability: Of the edge from every earlier node.
        free: Whether that edge is drawn; the layout decides the others.
        weight: Of the components of the edges' mixture.
        log_op: Log-probability of the operation.
        log_edges: Log-probability of the edges together.
    """

    op: _Index
    op_probability: tuple[_Probability, ...]
    edges: tuple[_Index, ...]
    edge_probability: tuple[_Probability, ...]
    free: tuple[bool, ...]
    weight: tuple[_Probability, ...]
    log_op: FiniteFloat
    log_edges: FiniteFloat


class SampleTrace(_Strict):
    """The steps that led to one of the graphs drawn, and its log-probability."""

    steps: Annotated[tuple[TraceStep, ...], Field(min_length=1)]
    log_prob: FiniteFloat

    @model_validator(mode="after")
    def _agrees(self) -> "SampleTrace":
        for node, step in enumerate(self.steps):
            sizes = {len(step.edge_probability), len(step.free), node}
            if sizes != {node} or any(source >= node for source in step.edges):
                raise ValueError(f"step {node + 1} of the trace has edges of a later node")
            if step.op >= len(step.op_probability):
                raise ValueError(
                    f"step {node + 1} of the trace has no probability of its operation"
                )
        total = math.fsum(step.log_op + step.log_edges for step in self.steps)
        if not math.isclose(total, self.log_prob, rel_tol=1e-3, abs_tol=1e-3):
            raise ValueError(f"the steps of the trace add up to {total}, not {self.log_prob}")
        return self


class Samples(_Strict):
    """Graphs drawn from the generator of a run.

    Attributes:
        format: Version of this file.
        last_row: The last row of the ledger that the generator knew.
        draws: The graphs, in the order in which they were drawn.
        trace: How one of them came to be; None where the generator does not go step by step.
    """

    format: Literal[1] = 1
    last_row: int
    draws: Annotated[tuple[Draw, ...], Field(min_length=1)]
    trace: SampleTrace | None = None

    @classmethod
    def read(cls, folder: Path) -> "Samples | None":
        """Read the file of a run folder; None if there is none.

        Raises:
            ValueError: If it is damaged.
        """
        path = Path(folder) / "samples.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"]))
            reason = " ".join(f"{place}: {problem['msg']}".strip(": ").split())
            raise ValueError(
                f"{path} is damaged ({reason}): delete it, and the report draws samples anew"
            ) from None

    def write(self, folder: Path) -> None:
        """Write the file of a run folder, atomically.

        Raises:
            OSError: If it cannot be written.
        """
        write_atomic(Path(folder) / "samples.json", self.model_dump_json())

    @property
    def keys(self) -> set[str]:
        """Of the distinct valid graphs."""
        return {draw.key for draw in self.draws if draw.key is not None}

    @property
    def valid(self) -> int:
        """How many graphs are valid."""
        return sum(draw.arch is not None for draw in self.draws)

    @property
    def dense(self) -> float | None:
        """Share of the valid graphs that are dense; None if none is valid."""
        known = [draw.density for draw in self.draws if draw.density is not None]
        return sum(density > DENSE for density in known) / len(known) if known else None

    @property
    def entropy(self) -> tuple[float, float] | None:
        r"""The generator's entropy, $-\frac{1}{n} \sum \log p(G)$, and its standard error, in nats.

        None where the generator cannot tell.
        """
        surprise = [-draw.log_prob for draw in self.draws if draw.log_prob is not None]
        if len(surprise) < 2:
            return None
        mean = math.fsum(surprise) / len(surprise)
        spread = math.fsum((s - mean) ** 2 for s in surprise) / (len(surprise) - 1)
        return mean, math.sqrt(spread / len(surprise))
