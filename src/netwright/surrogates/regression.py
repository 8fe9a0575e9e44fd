"""Gradient descent on a squared error, step by step, so that it can stop and go on anywhere."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.rng import stream


@dataclass(frozen=True)
class Training:
    """How to train a regressor.

    Attributes:
        epochs: Passes over the labels.
        batch_size: Labels per step.
        learning_rate: Of Adam, at the start or after the warm-up.
        schedule: "plateau" multiplies the learning rate by 0.1 when the loss of an epoch has not
            fallen for more than 10 epochs; "cosine" lets it fall to 0 along a half wave;
            "constant".
        warmup: Share of the steps over which the learning rate rises from 0.
        clip: Largest norm of the gradient; None for no limit.
        average: Share of the steps, the last ones, whose parameters are averaged
            ([Izmailov2018]); 0 keeps those of the last step.

    Raises:
        ValueError: If a number is out of its range.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    warmup: float = 0.0
    clip: float | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < math.inf:
            raise ValueError("epochs, batch size and learning rate must be positive")
        if self.schedule not in ("plateau", "cosine", "constant"):
            raise ValueError(f"schedule: {self.schedule!r} is not plateau, cosine or constant")
        if not (0 <= self.warmup <= 1 and 0 <= self.average <= 1):
            raise ValueError("warmup and average are shares of the steps, from 0 to 1")


#: The loss of the labels at these indices.
Loss = Callable[[Int[Tensor, " batch"], torch.Generator], Float[Tensor, ""]]


class Regression:
    """Trains a module on labels; see `Training`.

    The order of an epoch and the noise of a step come from random streams named after them, so
    that training that is stopped after any step and goes on from its `state_dict` ends with the
    same parameters, bit by bit (on the same kind of machine, with as many threads).

    Args:
        module: What to train; in training mode during steps only.
        loss: Of some labels, by index.
        size: Number of labels.
        training: How.
        seed: Of the order of labels and of all noise.

    Attributes:
        seen: Labels seen so far, repeats counted.
        seconds: Spent on steps so far.
    """

    def __init__(
        self, module: nn.Module, loss: Loss, size: int, training: Training, *, seed: int
    ) -> None:
        self.module, self.size, self.training, self.seed = module, size, training, seed
        self.seen, self.steps, self.seconds = 0, 0, 0.0
        self._loss = loss
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        rate = training.learning_rate
        self._optimiser = torch.optim.Adam(self._parameters, lr=rate, fused=True)
        self._rate, self._best, self._bad, self._sum = rate, math.inf, 0, 0.0
        self._mean: dict[str, Tensor] = {}  # of the parameters of the last steps, and
        self._count = 0  # how many those are

    @property
    def finished(self) -> bool:
        """Whether all epochs are over."""
        return self.seen >= self.training.epochs * self.size

    def run(self) -> Iterator[float | None]:
        """Train, yielding after every step: the mean loss of an epoch at its end, else None.

        Raises:
            RuntimeError: If the loss or its gradient is not finite; parameters are those before
                the step.
        """
        while not self.finished:
            start = time.monotonic()
            self.module.train()
            try:
                self._step()
            finally:
                self.module.eval()
            if self.finished and self._mean:
                self.module.load_state_dict(self._mean)
            self.seconds += time.monotonic() - start
            yield None if self.seen % self.size else self._epoch_ends()

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes: a tree of tensors, which are those in use, and JSON values."""
        moments = self._optimiser.state_dict()["state"]
        return {
            "module": dict(self.module.state_dict()),
            "optimiser": {str(i): dict(state) for i, state in moments.items()},
            "mean": dict(self._mean),
            "counters": [self.seen, self.steps, self._bad, self._count],
            "sums": [self._sum, self.seconds, self._rate, self._best],
            "data": [self.size, self.seed],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: If it is that of another module, other labels or another seed.
        """
        if list(state["data"]) != [self.size, self.seed]:
            raise ValueError(
                f"that training had {state['data'][0]} labels and another order of them, now there "
                f"are {self.size}: were its data or its seed changed?"
            )
        load_parameters(self.module, state["module"])
        groups = self._optimiser.state_dict()["param_groups"]
        moments = {
            int(i): {name: value.clone() for name, value in found.items()}
            for i, found in state["optimiser"].items()
        }
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._mean = {name: value.clone() for name, value in state["mean"].items()}
        self.seen, self.steps, self._bad, self._count = state["counters"]
        self._sum, self.seconds, self._rate, self._best = state["sums"]

    def _step(self) -> None:
        epoch, place = divmod(self.seen, self.size)
        order = torch.randperm(self.size, generator=stream(self.seed, f"epoch/{epoch}"))
        batch = order[place : place + self.training.batch_size]
        done = (self.seen + len(batch)) / (self.training.epochs * self.size)
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate(done)
        self._optimiser.zero_grad()
        loss = self._loss(batch, stream(self.seed, f"step/{self.steps}"))
        value = float(loss.detach())
        loss.backward()
        limit = math.inf if self.training.clip is None else self.training.clip
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, limit)
        if not (math.isfinite(value) and bool(norm.isfinite())):
            raise RuntimeError(
                f"the loss or its gradient is not finite after {self.seen} labels: try a smaller "
                "learning rate"
            )
        self._optimiser.step()
        self.seen += len(batch)
        self.steps += 1
        self._sum += value * len(batch)
        if done > 1 - self.training.average:
            self._averaged()

    def _averaged(self) -> None:
        """Take the parameters of this step into the mean."""
        self._count += 1
        for name, value in self.module.state_dict().items():
            mean = self._mean.setdefault(name, value.clone())
            if value.is_floating_point():
                mean += (value - mean) / self._count
            else:
                mean.copy_(value)

    def _learning_rate(self, done: float) -> float:
        """Return the learning rate of the step after which that share of all labels is seen."""
        training = self.training
        if done <= training.warmup:
            return self._rate * done / training.warmup
        if training.schedule == "cosine":
            rest = (done - training.warmup) / max(1 - training.warmup, 1e-9)
            return self._rate * 0.5 * (1 + math.cos(math.pi * rest))
        return self._rate

    def _epoch_ends(self) -> float:
        """Return the mean loss of the epoch, and let the plateau schedule know it."""
        loss, self._sum = self._sum / self.size, 0.0
        if self.training.schedule == "plateau":
            # As torch's ReduceLROnPlateau, which counts anew after each reduction.
            better = loss < self._best * (1 - 1e-4)
            self._best, self._bad = (loss, 0) if better else (self._best, self._bad + 1)
            if self._bad > 10:
                self._rate, self._bad = self._rate * 0.1, 0
        return loss


def load_parameters(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a module the parameters of another of its kind and sizes.

    Raises:
        ValueError: If they do not fit.
    """
    mine = {name: value.shape for name, value in module.state_dict().items()}
    if mine != {name: value.shape for name, value in state.items()}:
        raise ValueError("the parameters are those of another generator, or of other sizes")
    module.load_state_dict(state)
