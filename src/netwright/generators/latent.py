r"""Walks through the latent space of a generator, decoded ([SVGe] section IV-B, Fig. 2 and 3).

How the paper's sentences are read here:

* Fig. 3 left, "equidistant points within a [-0.3, 0.3] grid, given a 2D subspace [...] spanned by
  the first two principal components": the origin of the grid is the mean of the latent means, its
  axes are the two principal directions at unit length, and its units those of the latent space.
* Fig. 2, "a unit circle in a randomly chosen orthogonal direction [...] start from a flat net
  encoding [...] 14 equidistant datapoints along the hypersphere returning to the start point": the
  great circle through the start $z$ of the sphere around the origin (the mean of the prior), in the
  plane of $z$ and a uniformly drawn direction at right angles to it. The 14 points are distinct,
  $2 \pi / 14$ apart, the first being the start; the step after the last returns to it. The radius
  is $\lVert z \rVert$, so that the walk starts at the encoding itself; ``radius=1`` takes "unit
  circle" to the letter, and starts where $z$ meets the unit sphere.

Points are decoded by their likeliest choices, or to the most frequent of several draws. The
functions leave the generator in the mode (training or evaluation) that it is in.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.generators.base import DecodesOften, HasLatent
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout

_AT_ONCE = 1024  # graphs encoded or decoded at a time
_AT_ONCE_SHARED = 8192  # draws at a time of a generator that shares their steps


@dataclass(frozen=True, eq=False)
class Decoded:
    """Latent points and what they decode to.

    Attributes:
        latent: The points.
        archs: The graph of each point; a space may call it invalid.
    """

    latent: Float[Tensor, "point latent"]
    archs: ArchitectureBatch


@dataclass(frozen=True, eq=False)
class PrincipalPlane:
    """The plane in which points of a latent space vary most.

    Attributes:
        origin: The mean of the points.
        directions: The first two principal directions, at right angles and of length 1; of each,
            the coordinate of the largest size is positive.
        explained: The share of the total variance along each.
    """

    origin: Float[Tensor, " latent"]
    directions: Float[Tensor, "axis latent"]
    explained: Float[Tensor, " axis"]

    @classmethod
    def of(cls, points: Float[Tensor, "point latent"]) -> "PrincipalPlane":
        """Fit the plane exactly, by the eigenvectors of the covariance in double precision.

        Raises:
            ValueError: If points have fewer than two coordinates, are not finite, or are all equal.
        """
        if points.shape[1] < 2:
            raise ValueError("a principal plane needs a latent space of at least two dimensions")
        exact = points.double()
        if not len(exact) or not bool(exact.isfinite().all()):
            raise ValueError("a principal plane needs finite points, and at least two of them")
        if bool((exact == exact[0]).all()):
            raise ValueError(
                "a principal plane needs points that differ: the latent means collapsed"
            )
        centred = exact - exact.mean(dim=0)
        variance, basis = torch.linalg.eigh(centred.T @ centred / len(exact))  # in ascending order
        directions = basis.T[[-1, -2]]
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        shares = variance[[-1, -2]].clamp(min=0) / variance.clamp(min=0).sum()
        parts = (exact.mean(dim=0), directions * largest.sign(), shares)
        return cls(*(part.to(points.dtype) for part in parts))

    def project(self, points: Float[Tensor, "point latent"]) -> Float[Tensor, "point 2"]:
        """Return the coordinates in the plane of the point nearest to each."""
        return (points - self.origin) @ self.directions.T

    def lift(self, coordinates: Float[Tensor, "point 2"]) -> Float[Tensor, "point latent"]:
        """Return the latent points at these coordinates of the plane."""
        return self.origin + coordinates @ self.directions


def encode_means(generator: HasLatent, archs: ArchitectureBatch) -> Float[Tensor, "batch latent"]:
    """Return the posterior mean of each architecture, without gradient.

    Raises:
        ValueError: If a graph is not a complete graph of the generator's layout.
    """
    starts = range(0, max(1, len(archs)), _AT_ONCE)
    with torch.no_grad():
        return torch.cat([generator.encode(archs[i : i + _AT_ONCE])[0] for i in starts])


def decoded(
    generator: HasLatent,
    latent: Float[Tensor, "point latent"],
    *,
    rng: torch.Generator,
    draws: int | None = None,
) -> Decoded:
    """Decode points.

    Args:
        generator: With the latent space.
        latent: Where.
        rng: Of the draws.
        draws: Decode that often at each point, as `draw_counts`, and keep the most frequent graph
            up to isomorphism, as `most_frequent`. None takes the likeliest choices.

    Raises:
        ValueError: If there are no draws, or as `HasLatent.decode`.
    """
    if draws is not None:
        drawn = draw_counts(generator, latent, draws=draws, rng=rng)
        anything = torch.ones_like(drawn.point, dtype=torch.bool)
        chosen = most_frequent(drawn, len(latent), valid=anything, keys=hashing.keys(drawn.archs))
        return Decoded(latent, drawn.archs[chosen])
    starts = range(0, max(1, len(latent)), _AT_ONCE)
    with torch.no_grad():
        parts = [generator.decode(latent[i : i + _AT_ONCE], rng=rng, mode=True) for i in starts]
    return Decoded(latent, ArchitectureBatch.cat(parts))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What many draws at each of several latent points gave.

    Attributes:
        archs: The graphs, each once for each point: point after point, and of one point in the
            order in which they were first drawn.
        point: Which point each was drawn at.
        count: How often.
    """

    archs: ArchitectureBatch
    point: Int[Tensor, " graph"]
    count: Int[Tensor, " graph"]

    @classmethod
    def of(cls, archs: ArchitectureBatch, which: Int[Tensor, "point draw"]) -> "Drawn":
        """Count draws, given which of the graphs each of them is."""
        points, draws = which.shape
        point = torch.arange(points, device=which.device).repeat_interleave(draws)
        label = hashing.labelled_keys(archs)[which.flatten()]
        kinds, kind, count = torch.cat([point[:, None], label], dim=1).unique(
            dim=0, return_inverse=True, return_counts=True
        )
        draw = torch.arange(len(kind), device=which.device)
        first = torch.full_like(kinds[:, 0], len(kind)).scatter_reduce(0, kind, draw, "amin")
        order = first.argsort()
        first = first[order]
        return cls(archs[which.flatten()[first]], point[first], count[order])


def draw_counts(
    generator: HasLatent,
    latent: Float[Tensor, "point latent"],
    *,
    draws: int,
    rng: torch.Generator,
    within: Layout | None = None,
) -> Drawn:
    """Draw graphs at each point, independently, and count them.

    A generator that is a `DecodesOften` (SVGe, DGMG) computes what draws have in common once; of
    SVGe these are forward graphs. Others decode each draw.

    Args:
        generator: With the latent space.
        latent: The points.
        draws: How often to draw at each.
        rng: Source of all randomness.
        within: A stricter layout to obey, if the generator is a `DecodesOften`.

    Raises:
        ValueError: If there are no draws, the generator cannot obey a stricter layout, or as
            `HasLatent.decode`.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws at each point: at least 1")
    shares = isinstance(generator, DecodesOften)
    if within is not None and not shares:
        raise ValueError(
            f"{type(generator).__name__} cannot keep to a layout while it decodes: "
            "leave `within` out, and sort out what is invalid"
        )
    at_once = max(1, (_AT_ONCE_SHARED if shares else _AT_ONCE) // draws)
    parts = []
    with torch.no_grad():
        for i in range(0, max(1, len(latent)), at_once):
            some = latent[i : i + at_once]
            if isinstance(generator, DecodesOften):
                archs, which = generator.decode_often(some, draws, rng=rng, within=within)
            else:
                archs = generator.decode(some.repeat_interleave(draws, dim=0), rng=rng)
                which = torch.arange(len(archs), device=some.device).view(-1, draws)
            drawn = Drawn.of(archs, which)
            parts.append(Drawn(drawn.archs, drawn.point + i, drawn.count))
    point, count = (torch.cat([getattr(p, name) for p in parts]) for name in ("point", "count"))
    return Drawn(ArchitectureBatch.cat([part.archs for part in parts]), point, count)


def most_frequent(
    drawn: Drawn, points: int, *, valid: Bool[Tensor, " graph"], keys: Int[Tensor, "graph 2"]
) -> Int[Tensor, " point"]:
    """Return which graph each point stands for: the valid one drawn most often there.

    Graphs of one point and equal keys count as one. Of several, and of those equally frequent, the
    first drawn is taken.

    Args:
        drawn: What was drawn.
        points: At how many points.
        valid: Which graphs may be taken.
        keys: Of each graph, such as those of `netwright.graphs.hashing.keys`, up to isomorphism.

    Returns:
        Positions in ``drawn``; -1 for a point at which no valid graph was drawn.
    """
    place = valid.nonzero()[:, 0]
    point, zero = drawn.point[place], torch.zeros_like(place)
    kind = torch.cat([point[:, None], keys[place]], dim=1).unique(dim=0, return_inverse=True)[1]
    often = zero.scatter_add(0, kind, drawn.count[place])[kind]  # all draws of its kind
    most = often.new_zeros(points).scatter_reduce(0, point, often, "amax")
    best = often == most[point]
    none = len(drawn.point)
    first = place.new_full((points,), none).scatter_reduce(0, point[best], place[best], "amin")
    return first.masked_fill(first == none, -1)


def square(k: int, half_width: float = 0.3) -> Float[Tensor, "point 2"]:
    """Return the points of a ``k`` by ``k`` grid, as one reads: row by row from the upper left.

    The first coordinate grows to the right, the second upwards, each from minus to plus
    ``half_width``.

    Raises:
        ValueError: If ``k`` is below 2, or the width is not positive and finite.
    """
    if k < 2 or not 0 < half_width < math.inf:
        raise ValueError(f"a grid needs k > 1 and a positive half width, not {k} and {half_width}")
    ticks = torch.linspace(-half_width, half_width, k)
    return torch.cartesian_prod(ticks.flip(0), ticks).flip(1)


def decoded_grid(
    generator: HasLatent,
    plane: PrincipalPlane,
    *,
    k: int,
    half_width: float = 0.3,
    rng: torch.Generator,
    draws: int | None = None,
) -> Decoded:
    """Decode a grid of the plane, in the order of `square` ([SVGe] Fig. 3 left).

    Raises:
        ValueError: As `square` and `decoded`.
    """
    coordinates = square(k, half_width).to(plane.origin)
    return decoded(generator, plane.lift(coordinates), rng=rng, draws=draws)


def circle(
    generator: HasLatent,
    start: ArchitectureBatch,
    *,
    n: int = 14,
    radius: float | None = None,
    rng: torch.Generator,
    draws: int | None = None,
) -> Decoded:
    """Walk on a great circle from the encoding of an architecture ([SVGe] Fig. 2).

    Args:
        generator: With the latent space.
        start: A single architecture, such as a chain.
        n: Number of distinct points, equally far apart; from the last, one more step returns.
        radius: Of the circle around the origin; None is the distance of the encoding.
        rng: Draws the direction at right angles, then decodes.
        draws: As `decoded`.

    Raises:
        ValueError: If there is not one architecture, fewer than two points, a radius that is not
            positive and finite, an encoding at the origin, a single latent dimension, or as
            `HasLatent.encode` and `decoded`.
    """
    if len(start) != 1 or n < 2:
        raise ValueError(f"a circle needs one architecture and two points, not {len(start)}, {n}")
    if radius is not None and not 0 < radius < math.inf:
        raise ValueError(f"the radius must be positive and finite, not {radius}")
    mean = encode_means(generator, start)[0]
    z = mean.double()
    if len(z) < 2 or not bool(z.norm() > 0):
        raise ValueError("a circle needs two latent dimensions and a start that is not the origin")
    east = z / z.norm()
    north = torch.randn(len(z), generator=rng, dtype=torch.double).to(z.device)
    for _ in range(2):  # twice, so that rounding leaves nothing along the start
        north = north - (north @ east) * east
    north = north / north.norm()
    angle = 2 * math.pi * torch.arange(n, dtype=torch.double, device=z.device)[:, None] / n
    points = (radius or float(z.norm())) * (angle.cos() * east + angle.sin() * north)
    return decoded(generator, points.to(mean.dtype), rng=rng, draws=draws)


def interpolations(
    generator: HasLatent,
    starts: ArchitectureBatch,
    ends: ArchitectureBatch,
    *,
    steps: int,
    spherical: bool = False,
    rng: torch.Generator,
    draws: int | None = None,
) -> Decoded:
    """Walk from the encoding of each start to that of its end, both included.

    Args:
        generator: With the latent space.
        starts: Architectures.
        ends: As many.
        steps: Number of points of a walk, equally far apart.
        spherical: Whether to walk along the arc between the directions instead of the straight
            line; where those are the same, opposite or none (the origin), the walk is straight.
        rng: Of the draws.
        draws: As `decoded`.

    Returns:
        ``steps`` points for each pair, pair after pair.

    Raises:
        ValueError: If the numbers differ or are zero, there are fewer than two steps, or as
            `HasLatent.encode` and `decoded`.
    """
    if not len(starts) == len(ends) > 0 or steps < 2:
        raise ValueError(
            f"interpolation needs pairs and two steps, not {len(starts)} starts, "
            f"{len(ends)} ends and {steps} steps"
        )
    a, b = encode_means(generator, starts), encode_means(generator, ends)
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[:, None]
    along = _arc if spherical else torch.lerp
    points = along(a[:, None], b[:, None], t)
    return decoded(generator, points.flatten(0, 1), rng=rng, draws=draws)


def _arc(
    a: Float[Tensor, "pair 1 latent"], b: Float[Tensor, "pair 1 latent"], t: Float[Tensor, "step 1"]
) -> Float[Tensor, "pair step latent"]:
    r"""Return $(a \sin((1-t) \omega) + b \sin(t \omega)) / \sin \omega$ (Shoemake 1985)."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=2)[:, :, None]
    omega = cosine.clamp(-1, 1).acos()
    bent = (a * ((1 - t) * omega).sin() + b * (t * omega).sin()) / omega.sin()
    somewhere = (a.norm(dim=2, keepdim=True) > 0) & (b.norm(dim=2, keepdim=True) > 0)
    return torch.where((omega.sin() > 1e-4) & somewhere, bent, torch.lerp(a, b, t))
