r"""One step of the three-way adversarial training of GNN2GNN ([GNN2GNN] section 3.2).

The generator descends $L_G = \lambda F_D + (1 - \lambda) F_V$ (eq. 1): what the discriminator and
what the valuer say of its graphs. The discriminator learns to tell graphs of the data from
generated ones, the valuer the strength of graphs of the data.

Deviations, and how to recover what was published:

* The graphs that the discriminator learns from are those that the generator then learns from, so a
  step draws once (the released code: three times, of which one teaches the valuer the true class of
  generated graphs, held-out ones included).
* Both critics see edges through straight-through weights. ``edge_gradient = False`` is the
  released code's: gradients reach the edge scorer through the operations only.
* ``gan_loss``: "saturating", $\log(1 - D(G(z)))$, is eq. 2; "non-saturating", $-\log D(G(z))$, is
  the released code's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from netwright.generators.critics import Critic, Pool
from netwright.generators.relaxed import Differentiable, Relaxed, stacked

Valuer = Literal["classification", "regression"]


@dataclass(frozen=True)
class ThreeWayOptions:
    """How generator, discriminator and valuer are trained; the defaults are the paper's.

    Attributes:
        learning_rate: Of all three.
        generator_rate: Of the generator instead, if not None.
        optimiser: "adam" (released) or "sgd" (the paper's text; momentum 0.9 as released).
        weight_decay: Of all three.
        gan_loss: "non-saturating" or "saturating".
        valuer: "classification" of the best half of the training cells, or "regression" of the
            accuracy.
        edge_gradient: Whether critics see edges through straight-through weights.
        discriminator_widths: Sizes of its convolutions.
        valuer_widths: Sizes of its convolutions.
        discriminator_pool: See `Critic`.
        valuer_pool: See `Critic`.
        both_ways: See `Critic`.
        dropout: See `Critic`.
        entropy: Weight of the entropy (nats per graph) of the generator's choices, which is added
            to what it maximises and keeps it from making few graphs; 0 in the paper.
    """

    learning_rate: float = 1e-3
    generator_rate: float | None = None
    optimiser: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 5e-4
    gan_loss: Literal["saturating", "non-saturating"] = "saturating"
    valuer: Valuer = "classification"
    edge_gradient: bool = True
    discriminator_widths: tuple[int, ...] = (32, 32)
    valuer_widths: tuple[int, ...] = (32, 64)
    discriminator_pool: Pool = "mean"
    valuer_pool: Pool = "attention"
    both_ways: bool = False
    dropout: float = 0.2
    entropy: float = 0.0


class Losses(NamedTuple):
    """What a step came to, for each replica."""

    generator: Float[Tensor, " replica"]
    discriminator: Float[Tensor, " replica"]
    valuer: Float[Tensor, " replica"]
    told_apart: Float[Tensor, " replica"]  # share of graphs that the discriminator is right about


def make_valuer(num_ops: int, options: ThreeWayOptions, *, rng: torch.Generator) -> Critic:
    """Build an untrained valuer."""
    return Critic(
        num_ops,
        rng=rng,
        widths=options.valuer_widths,
        pool=options.valuer_pool,
        both_ways=options.both_ways,
        dropout=options.dropout,
    )


class ThreeWay:
    """A generator, a discriminator and a valuer in training, of one or several replicas.

    Args:
        generator: What to train, of one replica.
        options: How.
        rng: Initialises discriminator and valuer.
    """

    def __init__(
        self,
        generator: nn.Module,
        options: ThreeWayOptions,
        *,
        rng: torch.Generator,
    ) -> None:
        if not isinstance(generator, Differentiable):
            raise TypeError(
                f"{type(generator).__name__} has no draws with gradients: use gnn2gnn, molgan, rnn"
            )
        self.generator, self.options, self.layout = generator, options, generator.layout
        num_ops, device = generator.layout.num_ops, next(generator.parameters()).device
        self.discriminator = Critic(
            num_ops,
            rng=rng,
            widths=options.discriminator_widths,
            pool=options.discriminator_pool,
            both_ways=options.both_ways,
            dropout=options.dropout,
        ).to(device)
        self.valuer = make_valuer(num_ops, options, rng=rng).to(device)
        self._optimise()

    @classmethod
    def together(cls, models: Sequence["ThreeWay"]) -> "ThreeWay":
        """Make one of several that have not been trained, which train as each would alone."""
        first = models[0]
        for part in zip(*(model.networks.values() for model in models), strict=True):
            stacked(part)
        first._optimise()
        return first

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of the critics and of the generator, before any schedule."""
        critics, mine = self.options.learning_rate, self.options.generator_rate
        return critics, critics if mine is None else mine

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The three, by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "valuer": self.valuer,
        }

    def step(
        self,
        real: Relaxed,
        target: Float[Tensor, "replica batch"],
        balance: Float[Tensor, " replica"],
        goal: Float[Tensor, " replica"],
        *,
        rngs: Sequence[torch.Generator],
        rate: float = 1.0,
    ) -> Losses:
        r"""Train all three by one batch.

        Args:
            real: Graphs of the data.
            target: Of the valuer: 1 for strong graphs and 0 for others, or accuracies.
            balance: $\lambda$ of each replica.
            goal: The accuracy that the generator is to reach, if the valuer predicts accuracies.
            rngs: One for each replica.
            rate: Multiplies the learning rates.
        """
        assert isinstance(self.generator, Differentiable)
        for optimiser, usual in zip(self._optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = usual * rate
        weight = self.options.entropy
        fake = self.generator.draw(real.ops.shape[1], rngs=rngs, entropy=weight > 0)
        both = self.discriminator(Relaxed.cat(real, fake.detach()), rngs=rngs)
        on_real, on_fake = both.chunk(2, dim=1)
        of_discriminator = (softplus(-on_real) + softplus(on_fake)).mean(dim=1)
        of_valuer = self._valuer_loss(self.valuer(real, rngs=rngs), target)
        critics, of_generator = self._optimisers
        critics.zero_grad()
        (of_discriminator.sum() + of_valuer.sum()).backward()
        critics.step()
        # The critics as they are now, without dropout: what a graph is worth is not noisy.
        shown = fake if self.options.edge_gradient else fake.with_fixed_edges()
        on_fake = self.discriminator(shown)
        saturating = self.options.gan_loss == "saturating"
        doubt = logsigmoid(-on_fake) if saturating else softplus(-on_fake)
        loss = balance * doubt.mean(dim=1)  # eq. 2
        if bool((balance < 1).any()):
            value = self.valuer(shown)
            regresses = self.options.valuer == "regression"
            reward = (value - goal[:, None]).square() if regresses else softplus(-value)
            loss = loss + (1 - balance) * reward.mean(dim=1)
        if fake.entropy is not None:
            loss = loss - weight * fake.entropy.mean(dim=1)
        parameters = list(self.generator.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss.sum(), parameters), strict=True
        ):
            parameter.grad = gradient
        of_generator.step()
        right = ((on_real > 0).float() + (on_fake < 0).float()).mean(dim=1) / 2
        found = (loss, of_discriminator, of_valuer, right)
        return Losses(*(value.detach() for value in found))

    def _valuer_loss(
        self, value: Float[Tensor, "replica batch"], target: Float[Tensor, "replica batch"]
    ) -> Float[Tensor, " replica"]:
        if self.options.valuer == "regression":
            return (value - target).square().mean(dim=1)
        return (softplus(value) - target * value).mean(dim=1)  # cross-entropy

    def _optimise(self) -> None:
        """Make new optimisers: of both critics, and of the generator."""
        options = self.options
        critics = [*self.discriminator.parameters(), *self.valuer.parameters()]
        mine = list(self.generator.parameters())
        decay = options.weight_decay
        self._optimisers: tuple[torch.optim.Optimizer, torch.optim.Optimizer]
        if options.optimiser == "adam":
            self._optimisers = (
                torch.optim.Adam(critics, self.rates[0], weight_decay=decay, fused=True),
                torch.optim.Adam(mine, self.rates[1], weight_decay=decay, fused=True),
            )
        else:
            self._optimisers = (
                torch.optim.SGD(critics, self.rates[0], momentum=0.9, weight_decay=decay),
                torch.optim.SGD(mine, self.rates[1], momentum=0.9, weight_decay=decay),
            )

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and what the optimisers know: a tree of tensors."""
        names = ("critics", "of_generator")
        return {
            **{name: dict(network.state_dict()) for name, network in self.networks.items()},
            **{
                name: {
                    str(i): dict(moments) for i, moments in optimiser.state_dict()["state"].items()
                }
                for name, optimiser in zip(names, self._optimisers, strict=True)
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state[name])
        for name, optimiser in zip(("critics", "of_generator"), self._optimisers, strict=True):
            groups = optimiser.state_dict()["param_groups"]
            moments = {
                int(i): {key: value.clone() for key, value in found.items()}
                for i, found in state[name].items()
            }
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
