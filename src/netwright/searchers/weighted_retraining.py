r"""Retrain a decoder on what was told, the best of it above all, and sample it [AG-Net].

AG-Net is the decoder of SVGe without its encoder. From round to round it is trained on all
architectures told, each from fresh noise $z \sim \mathcal N(0, I)$, so that it becomes a
distribution over architectures as such, and that distribution leans to the best: an architecture
of rank $r$ among $n$, the best having rank 0, weighs $1 / (0.01 n + r)$ [Tripp2020]. A predictor
reads what the decoder says of an architecture, and both are trained on

.. math:: 0.1 L_\text{rec} + 0.9 (\hat y - y)^2.

Then a hundred new architectures, decoded at points uniform in $[-3, 3]$, are ranked by the
predictor, and the best are proposed. As in the released code an architecture's weight counts
twice: as the chance to be drawn for a batch, and as the weight of its loss there.

Deviations from the paper and its released code:

* There the decoder reads its own scores and is deterministic: an architecture is where its scores
  are largest. Here it is SVGe's, which draws, and which is fed the architecture's own past when it
  is trained (`SVGe.logits`). What was drawn is not in the scores, so the predictor, a perceptron of
  four hidden layers on the scores of all nodes and edges, reads the architecture too.
* Scores are standardised before they are learned; failed evaluations are not learned.
* Where the decoder has too little that is new, the space itself is drawn from.
* The decoder obeys the space (``within``), if it is to; there what is invalid is sorted out.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator
from netwright.generators.svge import SVGe
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import child, scoped
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.replay import ReplayBuffer
from netwright.spaces.base import SearchSpace
from netwright.surrogates.predictors import perceptron

#: Times that points are decoded for candidates, each time more of them.
_PASSES = 9


@dataclass(frozen=True)
class RetrainingOptions:
    """How `WeightedRetraining` searches; the defaults are the paper's for NAS-Bench-201.

    Attributes:
        initial: Evaluations told before the first training; until then proposals are random.
        update_every: Evaluations told between trainings.
        epochs: Passes of a training over what was told; the paper has 15 for NAS-Bench-101.
        batch_size: Architectures per step.
        learning_rate: Of Adam, whose moments decay by 0.5 and 0.999.
        tilt: How even weights are: the share of what was told that rank is counted in.
        prediction: Share of the predictor in the loss, the rest is reconstruction.
        pool: New candidates that the predictor ranks.
        spread: Largest coordinate of a point that is decoded.
        within: Whether to decode to members of the space only.
    """

    initial: int = 16
    update_every: int = 16
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-3
    tilt: float = 0.01
    prediction: float = 0.9
    pool: int = 100
    spread: float = 3.0
    within: bool = True

    def __post_init__(self) -> None:
        for name in ("initial", "update_every", "epochs", "batch_size", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "tilt", "spread"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.prediction <= 1:
            raise ValueError(f"prediction must be within 0 and 1, not {self.prediction}")


class WeightedRetraining:
    """Search by the decoder of a fitted SVGe, retrained on what was told, with a predictor.

    Proposals are of origin "random" (the first ones, and where the decoder has nothing new) and
    "generator". Only the forward decoder is used. Training goes on from round to round.

    Args:
        space: Where to search.
        generator: A fitted `SVGe`; it is copied, and stays as it is.
        options: How.
        rng: Draws the predictor's initial parameters.

    Raises:
        ValueError: If the generator is no SVGe, or of other operations or sizes.
    """

    def __init__(
        self,
        space: SearchSpace,
        generator: Generator,
        *,
        options: RetrainingOptions | None = None,
        rng: torch.Generator,
    ) -> None:
        if not isinstance(generator, SVGe):
            raise ValueError(
                f"{type(generator).__name__} has no decoder to retrain: fit one by "
                "`netwright fit svge`"
            )
        known, wanted = generator.layout, space.layout
        if (known.max_nodes, known.num_ops) != (wanted.max_nodes, wanted.num_ops):
            raise ValueError(
                f"the generator knows graphs of {known.max_nodes} nodes and {known.num_ops} "
                f"operations, {space.name} has {wanted.max_nodes} and {wanted.num_ops}"
            )
        self.space = space
        self.options = RetrainingOptions() if options is None else options
        self._within: Layout | None = space.layout if self.options.within else None
        with scoped(rng):
            self._model = _Model(generator).to(next(generator.parameters()).device)
        self._optimiser = torch.optim.Adam(
            self._model.learned(), lr=self.options.learning_rate, betas=(0.5, 0.999), fused=True
        )
        self._fresh = Fresh(space)
        self._buffer = ReplayBuffer(space.layout.max_nodes)
        self._told = self._trainings = self._fallback = 0
        self._ask_stats: dict[str, float] = {}
        self._fit_stats: dict[str, float] = {}

    @property
    def generator(self) -> SVGe:
        """The generator whose decoder is trained, as it stands."""
        return self._model.generator

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        if not n or not self._trainings:
            return self._fresh.random(n, rng=rng)
        latent, archs = self._candidates(max(n, self.options.pool), child(rng))
        chosen = archs[self._model.predict(latent, archs).argsort(descending=True, stable=True)[:n]]
        self._fresh.add(chosen)
        self._fallback += n - len(chosen)
        rest = self._fresh.random(n - len(chosen), rng=rng)
        return Proposals.cat([Proposals.of(chosen, "generator"), rest])

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Take in scores; retrain decoder and predictor when it is due.

        Raises:
            ValueError: If an architecture is not a member of the space.
            FloatingPointError: If training diverged.
        """
        archs, score = self._fresh.admit(archs, score)
        self._buffer.add(archs, score)
        before, every = self._told, self.options.update_every
        self._told += len(score)
        due = self._told // every > before // every or before < self.options.initial
        if due and self._told >= self.options.initial and len(self._buffer) > 1:
            self._train(child(rng))

    def _train(self, rng: torch.Generator) -> None:
        """Train on what was told, by rank."""
        options, model = self.options, self._model
        archs, score = self._buffer.best(len(self._buffer))
        weight = rank_weights(len(score), options.tilt)
        target = ((score - score.mean()) / (float(score.std(correction=0)) or 1.0)).float()
        device = next(model.parameters()).device
        archs, target = archs.to(device), target.to(device)
        total, steps = torch.zeros(3, device=device), 0
        for _ in range(options.epochs):
            drawn = torch.multinomial(weight, len(score), replacement=True, generator=rng)
            for batch in drawn.split(options.batch_size):
                noise = torch.randn(len(batch), model.latent_size, generator=rng).to(device)
                lost, predicted = model(noise, archs[batch])
                wrong = (predicted - target[batch]).square()
                each = (1 - options.prediction) * lost + options.prediction * wrong
                loss = (weight[batch].to(each) * each).mean()
                self._optimiser.zero_grad()
                loss.backward()
                self._optimiser.step()
                means = (loss.detach(), lost.detach().mean(), wrong.detach().mean())
                total += torch.stack(means)
                steps += 1
        if not bool(total.isfinite().all()):
            raise FloatingPointError(
                f"training diverged after {self._told} evaluations: try a smaller learning rate"
            )
        self._trainings += 1
        names = ("loss", "reconstruction", "prediction")
        self._fit_stats = dict(zip(names, (total / steps).tolist(), strict=True))

    def _candidates(
        self, wanted: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "candidate latent"], ArchitectureBatch]:
        """Decode points to as many valid and new architectures, each once; fewer if they are."""
        device = next(self._model.parameters()).device
        size, spread = self._model.latent_size, self.options.spread
        latent, archs = torch.zeros(0, size), self._fresh.none()
        drawn = valid = new = 0
        for step in range(1, _PASSES + 1):
            noise = spread * (2 * torch.rand(step * wanted, size, generator=rng) - 1)
            made = self._model.generator.decode(
                noise.to(device), rng=rng, direction="forward", within=self._within
            )
            made = self.space.simplify(made.to("cpu"))
            ok = self.space.is_valid(made)
            made = made[ok].pad(self.space.layout.max_nodes)
            latent = torch.cat([latent, noise[ok]])
            archs = ArchitectureBatch.cat([archs, made])
            first = self._fresh.unseen(archs)
            drawn, valid, new = drawn + len(ok), valid + len(made), int(first.sum())
            latent, archs = latent[first], archs[first]
            if len(archs) >= wanted:
                break
        self._ask_stats = {"valid": valid / drawn, "new": new / max(valid, 1)}
        return latent[:wanted].to(device), archs[:wanted].to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return decoder, predictor, their optimiser, what was told and seen, and counters."""
        moments = self._optimiser.state_dict()["state"]
        return {
            "counters": [self._told, self._trainings, self._fallback],
            "model": {name: value.clone() for name, value in self._model.state_dict().items()},
            "optimiser": {
                str(i): {name: value.clone() for name, value in found.items()}
                for i, found in moments.items()
            },
            "buffer": self._buffer.state_dict(),
            "fresh": self._fresh.state_dict(),
            "stats": {"ask": dict(self._ask_stats), "fit": dict(self._fit_stats)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._told, self._trainings, self._fallback = state["counters"]
        self._model.load_state_dict(state["model"])
        moments = {
            int(i): {name: value.clone() for name, value in found.items()}
            for i, found in state["optimiser"].items()
        }
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._buffer.load_state_dict(state["buffer"])
        self._fresh.load_state_dict(state["fresh"])
        self._ask_stats = dict(state["stats"]["ask"])
        self._fit_stats = dict(state["stats"]["fit"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "fallback", proposals so far that the decoder owed; "valid" and "new": shares of what was
        decoded in the last `ask`, and of what was valid of it; "loss", "reconstruction" and
        "prediction": means over the last training, the first by weight.
        """
        return {"fallback": float(self._fallback)} | self._ask_stats | self._fit_stats


class _Model(nn.Module):
    """A decoder and the predictor that reads its scores.

    Args:
        generator: Fitted; it is copied.
    """

    def __init__(self, generator: SVGe) -> None:
        super().__init__()
        self.generator, self.latent_size = copy.deepcopy(generator), generator.latent_size
        nodes, ops = generator.layout.max_nodes, generator.layout.num_ops
        self.pairs = torch.triu_indices(nodes, nodes, offset=1)
        size = 2 * (nodes * ops + self.pairs.shape[1])
        self.predictor = perceptron([size] * 5 + [1])

    def learned(self) -> list[nn.Parameter]:
        """Return the parameters to train."""
        decoder = self.generator.decoders[0]
        return [*decoder.parameters(), *self.predictor.parameters()]

    def forward(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Return what is lost in reconstruction, and predicted scores, standardised.

        The loss is twice the mean cross-entropy of nodes plus the mean one of free edges, as
        released.
        """
        op, edges = self.generator.logits(latent, archs)
        layout, real = self.generator.layout, archs.node_mask
        allowed = layout.allowed_ops.to(op.device)
        logits = op.masked_fill(~allowed, -torch.inf).log_softmax(dim=2)
        free = layout.free.to(op.device) & real[:, None, :] & real[:, :, None]
        wrong_op = -logits.gather(2, archs.ops[:, :, None])[:, :, 0].where(real, 0.0)
        wrong_edge = nn.functional.binary_cross_entropy_with_logits(
            edges, archs.adj.to(edges), weight=free.to(edges), reduction="none"
        )
        of_edges = wrong_edge.sum(dim=(1, 2)) / free.sum(dim=(1, 2)).clamp(min=1)
        lost = 2 * wrong_op.sum(dim=1) / archs.num_nodes + of_edges
        return lost, self._predicted(op, edges, archs)

    @torch.no_grad()
    def predict(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> Float[Tensor, " batch"]:
        """Return predicted scores, standardised, on the CPU."""
        if not len(archs):
            return torch.zeros(0)
        op, edges = self.generator.logits(latent, archs)
        return self._predicted(op, edges, archs).to("cpu")

    def _predicted(
        self,
        op: Float[Tensor, "batch node op"],
        edges: Float[Tensor, "batch node node"],
        archs: ArchitectureBatch,
    ) -> Float[Tensor, " batch"]:
        source, target = self.pairs.to(op.device)
        drawn = nn.functional.one_hot(archs.ops, op.shape[2]) * archs.node_mask[:, :, None]
        read = [op.flatten(1), edges[:, source, target]]
        read += [drawn.flatten(1).to(op), archs.adj[:, source, target].to(op)]
        out: Tensor = self.predictor(torch.cat(read, dim=1))
        return out[:, 0]


def rank_weights(count: int, tilt: float) -> Float[Tensor, " rank"]:
    r"""Return $1 / (k n + r)$ for ranks $r$ from 0, the best, to $n - 1$ ([Tripp2020] eq. 2)."""
    rank: Int[Tensor, " rank"] = torch.arange(count)
    return 1 / (tilt * count + rank)
