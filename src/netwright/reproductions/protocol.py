"""The published measures of generators with a latent space ([SVGe] section IV-A).

Reconstruction accuracy decodes the encodings of held-out graphs many times over; validity,
uniqueness and novelty are those of graphs decoded from points drawn from a normal distribution
with the mean and the standard deviation of the training graphs' encodings. Two graphs are the same
if they are so to the letter, node order included; the isomorphism-aware figures beside them call
isomorphic graphs the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright import metrics
from netwright.generators.base import HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.validity import published_validity
from netwright.rng import stream
from netwright.spaces.base import SearchSpace

#: Graphs decoded at a time.
_AT_ONCE = 1000

Decode = Callable[[Float[Tensor, "point latent"], torch.Generator], ArchitectureBatch]


@dataclass(frozen=True)
class Protocol:
    """How much is decoded.

    Attributes:
        reconstructions: Graphs decoded per held-out graph; the published figure has 100.
        points: Points drawn from the prior.
        draws: Graphs decoded at each.
        held_out: No more held-out graphs than that, the first ones; all if None.
        encoded: Training graphs whose encodings give mean and standard deviation; all if None.
    """

    reconstructions: int = 100
    points: int = 1000
    draws: int = 10
    held_out: int | None = None
    encoded: int | None = None


@dataclass(frozen=True)
class Measured:
    """What came out, as fractions; NaN where nothing valid was decoded.

    Attributes:
        accuracy: Share of decoded graphs that are the held-out graph itself.
        validity: Share of graphs from the prior that are valid by the published rules.
        uniqueness: Distinct graphs among the valid ones, over their number.
        novelty: Share of the valid ones that are no training graph.
        membership: Share of graphs from the prior that are members of the space.
        accuracy_isomorphic: Like `accuracy`, isomorphic graphs counted as the same.
        uniqueness_isomorphic: Like `uniqueness`.
        novelty_isomorphic: Like `novelty`.
    """

    accuracy: float
    validity: float
    uniqueness: float
    novelty: float
    membership: float
    accuracy_isomorphic: float
    uniqueness_isomorphic: float
    novelty_isomorphic: float

    def percent(self) -> dict[str, float]:
        """Return all in percent, by names for people."""
        return {name.replace("_", " "): 100 * value for name, value in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class Known:
    """What the measures need of the training graphs.

    Attributes:
        mean: Of their encodings.
        sd: Standard deviation.
        labelled: Their keys, node order included, as `hashing.distinct` sorts them.
        isomorphic: Their keys, likewise.
    """

    mean: Float[Tensor, " latent"]
    sd: Float[Tensor, " latent"]
    labelled: Int[Tensor, "graph 2"]
    isomorphic: Int[Tensor, "graph 2"]

    @classmethod
    def of(cls, generator: HasLatent, train: ArchitectureBatch, protocol: Protocol) -> "Known":
        """Encode training graphs and take their keys."""
        latent = encode_means(generator, train[: protocol.encoded])
        return cls(
            latent.mean(dim=0),
            latent.std(dim=0),
            hashing.distinct(hashing.labelled_keys(train)),
            hashing.distinct(hashing.keys(train)),
        )


def measure(
    generator: HasLatent,
    decode: Decode,
    space: SearchSpace,
    known: Known,
    held_out: ArchitectureBatch,
    protocol: Protocol,
    *,
    seed: int,
) -> Measured:
    """Take all measures.

    Args:
        generator: Encodes.
        decode: Draws one graph at each point.
        space: Judges.
        known: Of the training graphs.
        held_out: Graphs that were not.
        protocol: How much.
        seed: Of everything drawn.
    """
    some = held_out[: protocol.held_out]
    means = encode_means(generator, some)
    again = _decoded(decode, means, protocol.reconstructions, stream(seed, "reconstruction"))
    prior, rng = stream(seed, "prior"), stream(seed, "prior/decode")
    noise = torch.randn(protocol.points, len(known.mean), generator=prior).to(known.mean)
    drawn = _decoded(decode, known.mean + known.sd * noise, protocol.draws, rng)
    valid = published_validity(space, drawn)
    labelled, isomorphic = hashing.labelled_keys(drawn), hashing.keys(drawn)
    accuracy = metrics.reconstruction_accuracy
    return Measured(
        accuracy(some, again),
        metrics.validity(valid),
        metrics.uniqueness(labelled, valid),
        metrics.novelty(labelled, valid, known.labelled),
        metrics.validity(space.is_valid(drawn)),
        accuracy(some, again, keys=hashing.keys),
        metrics.uniqueness(isomorphic, valid),
        metrics.novelty(isomorphic, valid, known.isomorphic),
    )


def _decoded(
    decode: Decode, latent: Float[Tensor, "point latent"], draws: int, rng: torch.Generator
) -> ArchitectureBatch:
    """Decode ``draws`` graphs at each point, those of a point one after the other."""
    return ArchitectureBatch.cat([decode(some, rng) for some in _chunks(latent, draws)])


def _chunks(
    latent: Float[Tensor, "point latent"], draws: int
) -> Iterator[Float[Tensor, "row latent"]]:
    at_once = max(1, _AT_ONCE // draws)
    for start in range(0, len(latent), at_once):
        yield latent[start : start + at_once].repeat_interleave(draws, dim=0)
