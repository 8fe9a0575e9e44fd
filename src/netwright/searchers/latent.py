"""Bayesian optimisation in the latent space of a generator ([SVGe] section IV-D).

A Gaussian process over latent points learns the scores; points of large expected improvement are
decoded, and what they decode to is evaluated. Four settings:

* ``candidates = "box"``, the paper's: points uniform in the box around the known encodings; each
  chosen point is decoded 500 times and stands for its most frequent valid architecture. The
  process learns the score at the chosen point.
* ``candidates = "near"``, ours: architectures decoded around the encodings of the best ones and
  all over the latent space; the process is asked, and learns, at their own encodings. What it is
  asked about is then what is evaluated.
* ``candidates = "space"``: the same, but architectures are drawn from the space instead of being
  decoded, for a space of which only some members can be evaluated.
* ``candidates = "fixed"``: the same members of the space for every batch and every search, encoded
  once: ``pool`` of them, drawn alike if the space can be listed, or all if it has no more.

With ``candidates = "fixed"``, ``surrogate = "dngo"`` and ``node_mean = True`` this is the search of
[Yan2020], arch2vec: a cell is the mean of the latent vectors of its nodes, and a batch the best
candidates by expected improvement, without a fantasy between them. There the score to improve on
is always 0.95, about the best accuracy of NAS-Bench-101 (``reference``); here it is the best
posterior mean unless told otherwise. There all of NAS-Bench-101 is encoded; so it is here with a
``pool`` of that size.

Deviations from the released code ([SVGe], [DVAE]): architectures decoded once more cost nothing,
their known score is learned at the new point too, and further points are chosen until there are as
many new architectures as asked for. Most frequent is counted up to isomorphism (released: the
first valid one drawn). The incumbent is the best posterior mean at a known point. L-BFGS, which
the released code sends from the best candidates, is off (``iterations``): with a kernel whose
parameters are fitted it ends at one point of the border, wherever it starts. The released
NAS-Bench-101 script minimises the accuracy by mistake.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.base import DecodesOften, HasLatent
from netwright.generators.latent import Drawn, draw_counts, encode_means, most_frequent
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import child, stream
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.latent_options import (
    LatentOptions as LatentOptions,
)  # for those who use it
from netwright.spaces.base import Enumerable, SearchSpace, distinct_members
from netwright.surrogates.dngo import DNGO, fit_dngo

_Key = tuple[int, int]
#: Passes of an `ask` that look for more architectures, before the space itself is drawn from.
_PASSES = 10


class _Chosen(NamedTuple):
    """Points, and which candidates they are or started from."""

    points: Tensor
    rows: Tensor


class _Members(NamedTuple):
    """Members of the space that are always the candidates, their keys and encodings."""

    archs: ArchitectureBatch
    keys: Tensor
    latent: Tensor


class LatentSearch:
    """Batch Bayesian optimisation over any generator with a latent space.

    Proposals are of origin "random" (the first ones, and where nothing new is found) and "latent".
    A point that decodes to nothing valid, and a failed evaluation, count as the worst known score.
    The surrogate is fitted anew for every batch. Architectures told without having been proposed
    are learned at their encodings.

    Args:
        space: Where to search.
        generator: Fitted; it does not change.
        options: How.

    Raises:
        ValueError: If the generator is of other operations or sizes, or the mean of nodes is asked
            for and it has no latent vector for each.
        ImportError: If GPyTorch or BoTorch is not installed, with the command that installs them.
    """

    def __init__(
        self, space: SearchSpace, generator: HasLatent, *, options: LatentOptions | None = None
    ) -> None:
        if options is None:
            options = LatentOptions()
        if options.acquisition != "random":
            import netwright.surrogates.gp  # noqa: F401  # what is missing is missed at once
        known, wanted = generator.layout, space.layout
        if (known.max_nodes, known.num_ops) != (wanted.max_nodes, wanted.num_ops):
            raise ValueError(
                f"the generator knows graphs of {known.max_nodes} nodes and {known.num_ops} "
                f"operations, {space.name} has {wanted.max_nodes} and {wanted.num_ops}"
            )
        self.space, self.generator, self.options = space, generator, options
        obeys = options.within and isinstance(generator, DecodesOften)
        self._within: Layout | None = space.layout if obeys else None
        self._fresh = Fresh(space)
        self._members: _Members | None = None  # a cache, not state
        self._size = _coordinates(generator, node_mean=options.node_mean)
        self._points = torch.zeros(0, self._size)  # known, with a score each
        self._scores = torch.zeros(0)  # NaN: invalid or failed
        self._score_of: dict[_Key, float] = {}  # of every architecture told
        self._asked: dict[_Key, Tensor] = {}  # points of proposals that are not yet told
        self._stats: dict[str, float] = {}

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        first = max(0, min(n, self.options.initial - len(self._score_of) - len(self._asked)))
        found = [self._fresh.random(first, rng=rng)]
        self._expect(found[0].archs)
        missing = n - len(found[0])
        if missing:
            box = self.options.candidates == "box"
            fixed = self.options.candidates == "fixed"
            choose = self._from_box if box else self._from_fixed if fixed else self._from_near
            chosen = choose(missing, rng)
            # The last resort: what the latent space does not have, or not any more.
            rest = self._fresh.random(missing - len(chosen), rng=rng)
            self._expect(rest.archs)
            found += [chosen, rest]
            self._stats["fallback"] = float(len(rest))
        return Proposals.cat(found)

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn scores, each at the point that was decoded, or at the architecture's encoding.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        archs, score = self._fresh.admit(archs, score)
        if not len(archs):
            return
        keys = hashing.to_pairs(self.space.keys(archs))
        encoded = self._encode(archs)
        points = [self._asked.pop(key, encoded[i]) for i, key in enumerate(keys)]
        self._learn(torch.stack(points), score.float())
        self._score_of.update(zip(keys, score.tolist(), strict=True))

    def _from_box(self, n: int, rng: torch.Generator) -> Proposals:
        """Choose points of a box, decode each many times, keep the most frequent architecture."""
        points, found = self._points, [Proposals(self._fresh.none(), ())]
        if len(points) < 2:
            return found[0]
        low, high = points.amin(dim=0), points.amax(dim=0)
        gp, best = self._surrogate(rng)
        tried = torch.stack([low, *self._asked.values()])[1:]
        missing, counts = n, {"decoded": 0, "invalid": 0, "repeated": 0}
        for _ in range(_PASSES):
            box = low + (high - low) * torch.rand(self.options.pool, len(low), generator=rng)
            chosen = self._choose(gp, best, box, missing, tried, bounds=(low, high)).points
            tried = torch.cat([tried, chosen])
            found.append(self._decode_points(chosen, counts, rng))
            missing -= len(found[-1])
            if not missing:
                break
        decoded = counts.pop("decoded")
        self._stats |= {name: count / decoded for name, count in counts.items()}
        return Proposals.cat(found)

    def _decode_points(
        self, chosen: Tensor, counts: dict[str, int], rng: torch.Generator
    ) -> Proposals:
        """Propose what points decode to, if it is new; learn at those points at which it is not."""
        drawn = self._decode(chosen, self.options.draws, rng)
        simple = self.space.simplify(drawn.archs)
        valid, keys = self.space.is_valid(simple), self.space.keys(simple)
        place = most_frequent(drawn, len(chosen), valid=valid, keys=keys)
        lost = place < 0
        archs, kept = simple[place[~lost]], chosen[~lost]
        new = self._fresh.unseen(archs)
        self._fresh.add(archs[new])
        self._expect(archs[new], kept[new])
        self._learn(chosen[lost], torch.full((int(lost.sum()),), torch.nan))
        known = [self._score_of.get(key) for key in hashing.to_pairs(self.space.keys(archs[~new]))]
        told = [i for i, value in enumerate(known) if value is not None]
        self._learn(kept[~new][told], torch.tensor([known[i] for i in told]))
        counts["decoded"] += len(chosen)
        counts["invalid"] += int(lost.sum())
        counts["repeated"] += int((~new).sum())
        return Proposals.of(archs[new], "latent")

    def _from_near(self, n: int, rng: torch.Generator) -> Proposals:
        """Choose among architectures by their own encodings."""
        found = [Proposals(self._fresh.none(), ())]
        if len(self._points) < 2:
            return found[0]
        gp, best = self._surrogate(rng)
        missing = n
        for _ in range(_PASSES):
            pool = self._pool(rng)
            if not len(pool):
                continue
            latent = self._encode(pool)
            waiting = torch.stack([latent[0], *self._asked.values()])[1:]
            index = self._choose(gp, best, latent, missing, waiting).rows
            found.append(self._propose(pool[index], latent[index]))
            missing -= len(index)
            if not missing:
                break
        return Proposals.cat(found)

    def _from_fixed(self, n: int, rng: torch.Generator) -> Proposals:
        """Choose among the same architectures as ever, those that are new."""
        if len(self._points) < 2:
            return Proposals(self._fresh.none(), ())
        known = self._all_members()
        seen = hashing.distinct(torch.cat([_matrix(self._score_of), _matrix(self._asked)]))
        new = (hashing.find(seen, known.keys) < 0).nonzero()[:, 0]
        if not len(new):
            return Proposals(self._fresh.none(), ())
        surrogate, best = self._surrogate(rng)
        latent = known.latent[new]
        waiting = torch.stack([latent[0], *self._asked.values()])[1:]
        index = self._choose(surrogate, best, latent, n, waiting).rows
        return self._propose(known.archs[new[index]], latent[index])

    def _propose(self, archs: ArchitectureBatch, points: Tensor) -> Proposals:
        """Propose candidates, to be learned at their points."""
        self._fresh.add(archs)
        self._expect(archs, points)
        return Proposals.of(archs, "latent")

    def _all_members(self) -> _Members:
        """Return the candidates that are always the same; encode them once."""
        if self._members is None:
            archs = _distinct(self.space, self.options.pool, rng=stream(0, "latent/members"))
            archs = archs.pad(self.space.layout.max_nodes)
            self._members = _Members(archs, self.space.keys(archs), self._encode(archs))
        return self._members

    def _choose(
        self,
        surrogate: Any,
        best: float,
        candidates: Tensor,
        n: int,
        pending: Tensor,
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> _Chosen:
        """Choose candidates: of large expected improvement, or as they come without a surrogate."""
        if surrogate is None:
            index = torch.arange(len(candidates))[:n]
            return _Chosen(candidates[index], index)
        from netwright.surrogates.acquisition import choose_batch, log_expected_improvement

        if isinstance(surrogate, DNGO):
            value = log_expected_improvement(*surrogate.predict(candidates), best)
            index = value.argsort(descending=True, stable=True)[:n]
            return _Chosen(candidates[index], index)
        iterations = self.options.iterations if bounds is not None else 0
        batch = choose_batch(
            surrogate,
            candidates,
            n,
            best=best,
            pending=pending,
            iterations=iterations,
            bounds=bounds,
        )
        return _Chosen(batch.points.to(candidates), batch.index)

    def _pool(self, rng: torch.Generator) -> ArchitectureBatch:
        """Return candidates that are valid and new, each once."""
        archs = self.space.simplify(self._candidates(rng))
        valid = self.space.is_valid(archs)
        archs = archs[valid]
        new = self._fresh.unseen(archs)
        self._stats |= {
            "invalid": 1 - float(valid.double().mean()),
            "repeated": 1 - float(new.double().mean()) if len(new) else 0.0,
        }
        return archs[new].pad(self.space.layout.max_nodes)

    def _candidates(self, rng: torch.Generator) -> ArchitectureBatch:
        """Draw from the space, or decode around the best and everywhere."""
        options, points = self.options, self._points
        if options.candidates == "space":
            return self.space.sample(options.pool, rng=rng)
        deviation = points.std(dim=0)
        far = round(options.explore * options.pool)
        best = self._filled().argsort(descending=True, stable=True)[: options.elites]
        near = options.pool - far
        start = points[best[torch.randint(len(best), (near,), generator=rng)]]
        size = options.spread * 10 ** -torch.rand(near, 1, generator=rng)
        shape = (near, points.shape[1])
        around = start + size * deviation * torch.randn(shape, generator=rng)
        noise = torch.randn(far, points.shape[1], generator=rng)
        everywhere = points.mean(dim=0) + deviation * noise
        latent = torch.cat([around, everywhere])
        return self._decode(latent, 1, rng).archs

    def _surrogate(self, rng: torch.Generator) -> tuple[Any, float]:
        """Fit the surrogate to what is known; return it with the score to improve on."""
        mine, options = child(rng), self.options
        if options.acquisition == "random":
            return None, 0.0
        from netwright.surrogates.gp import GaussianProcess, fit_gp

        target = self._filled().double()
        if options.warp == "rank":
            target = normal_scores(target)
        surrogate: GaussianProcess | DNGO
        if options.surrogate == "gp":
            surrogate = fit_gp(self._points, target, options.gp, rng=mine)
        else:
            surrogate = fit_dngo(self._points, target, options.dngo, rng=mine)
        self._stats |= {"noise": surrogate.noise**0.5, "points": float(len(target))}
        if options.reference is not None:
            return surrogate, options.reference
        return surrogate, float(surrogate.predict(self._points)[0].max())

    def _filled(self) -> Tensor:
        """Known scores, the worst one where there is none."""
        scores = self._scores
        known = scores[~scores.isnan()]
        return scores.nan_to_num(nan=float(known.min()) if len(known) else 0.0)

    def _expect(self, archs: ArchitectureBatch, points: Tensor | None = None) -> None:
        """Note what is being evaluated, and at which points: at its encodings, if not told."""
        if len(archs):
            at = self._encode(archs) if points is None else points
            self._asked.update(zip(hashing.to_pairs(self.space.keys(archs)), at, strict=True))

    def _learn(self, points: Tensor, scores: Tensor) -> None:
        self._points = torch.cat([self._points, points.float()])
        self._scores = torch.cat([self._scores, scores.float()])

    @property
    def _device(self) -> torch.device:
        assert isinstance(self.generator, nn.Module)
        return next(self.generator.parameters()).device

    def _encode(self, archs: ArchitectureBatch) -> Tensor:
        points = encode_means(self.generator, archs.to(self._device)).to("cpu").float()
        # of a latent vector per node, [Yan2020] has the mean; else there is one in all
        of_nodes = points.view(len(points), points.shape[1] // self._size, self._size)
        return of_nodes.mean(dim=1)

    def _decode(self, latent: Tensor, draws: int, rng: torch.Generator) -> Drawn:
        points, within = latent.to(self._device), self._within
        drawn = draw_counts(self.generator, points, draws=draws, rng=rng, within=within)
        return Drawn(drawn.archs.to("cpu"), drawn.point.to("cpu"), drawn.count.to("cpu"))

    def state_dict(self) -> dict[str, Any]:
        """Return points, scores, what is being evaluated, and what was seen."""
        return {
            "points": self._points.clone(),
            "scores": self._scores.clone(),
            "told": {
                "keys": _matrix(self._score_of),
                "scores": torch.tensor(list(self._score_of.values()), dtype=torch.double),
            },
            "asked": {
                "keys": _matrix(self._asked),
                "points": torch.stack([self._points[:0].sum(dim=0), *self._asked.values()])[1:],
            },
            "fresh": self._fresh.state_dict(),
            "stats": dict(self._stats),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._points, self._scores = state["points"].clone(), state["scores"].clone()
        told, asked = state["told"], state["asked"]
        self._score_of = dict(
            zip(hashing.to_pairs(told["keys"]), told["scores"].tolist(), strict=True)
        )
        self._asked = dict(
            zip(hashing.to_pairs(asked["keys"]), asked["points"].clone(), strict=True)
        )
        self._fresh.load_state_dict(state["fresh"])
        self._stats = dict(state["stats"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting of the last `ask`; what is not known yet is left out.

        "invalid" and "repeated": shares of what was decoded; "fallback", proposals that the latent
        space owed; "points" that the surrogate was fitted to, and its "noise", in standard
        deviations of what it learns.
        """
        return dict(self._stats)


def normal_scores(score: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
    """Return the normal quantiles of the ranks, equal for equal scores ([Blom1958], a = 1/2)."""
    ordered, inverse, count = score.unique(return_inverse=True, return_counts=True)
    del ordered
    middle = count.cumsum(0) - (count + 1) / 2  # mean rank of equal scores, from 0
    quantiles: Tensor = torch.special.ndtri((middle[inverse] + 0.5) / len(score))
    return quantiles.to(score.dtype)


def _coordinates(generator: HasLatent, *, node_mean: bool) -> int:
    """Return how many coordinates the surrogate sees."""
    if not node_mean:
        return generator.latent_size
    if not isinstance(generator, Arch2Vec):
        raise ValueError(
            f"{type(generator).__name__} has no latent vectors of nodes to take the mean of: "
            "leave node_mean out"
        )
    return generator.node_latent


def _distinct(space: SearchSpace, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
    """Return ``n`` distinct architectures of a space, or all if there are no more."""
    if isinstance(space, Enumerable):
        archs = distinct_members(space, space.enumerate())
        return archs if len(archs) <= n else archs[torch.randperm(len(archs), generator=rng)[:n]]
    archs = ArchitectureBatch.empty(space.layout.max_nodes)
    for _ in range(_PASSES):
        archs = ArchitectureBatch.cat([archs, space.sample(2 * n, rng=rng)])
        archs = distinct_members(space, archs)
        if len(archs) >= n:
            break
    return archs[:n]


def _matrix(keys: dict[_Key, Any]) -> Tensor:
    return torch.tensor(list(keys), dtype=torch.long).view(-1, 2)
