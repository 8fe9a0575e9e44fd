"""Weights shared by all architectures, trained while the search goes on ([Pham2018]).

[GraphPNAS] 3.1.2 and appendix D: the supernet is trained with samples of the generator, a new one
for each batch of images, and then scores other samples, each on all validation images; ``epochs``
passes come before every batch of scores. Its optimiser is that of [Pham2018] with one cosine wave.

Deviations: scores come from a validation part of the training images, where the paper scores on
the test set.

An architecture that was trained with lately scores higher than it should: see
``trained_lately`` among the extras, which is 1 for those.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.evaluation import Evaluation
from netwright.evaluators.layout import channels_last
from netwright.evaluators.training import TrainingFailed, resolve_device
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.augment import crop_and_flip, cutout
from netwright.images.data import ImageData
from netwright.images.split import stratified_split
from netwright.rng import scoped, stream

Statistics = Literal["batch", "running"]


@runtime_checkable
class MakeSupernet(Protocol):
    """Makes shared weights, drawn from torch's global state."""

    def __call__(self, *, in_channels: int, num_classes: int) -> nn.Module:
        """Return a module that maps images and a single architecture to class logits."""
        ...


@dataclass(frozen=True)
class SupernetRecipe:
    """How shared weights are trained; the defaults are [Pham2018]'s, as [GraphPNAS] D follows them.

    Attributes:
        epochs: Passes over the training images in all, over which the learning rate falls.
        epochs_per_step: Passes before each batch of scores.
        batch_size: Largest number of images in a batch, and so for each architecture.
        learning_rate: At the start; it follows half a cosine wave.
        last_learning_rate: At the end, and from then on.
        momentum: Of SGD, which looks ahead (Nesterov).
        weight_decay: Of all shared weights.
        gradient_clip: Largest norm of the gradient; 0 for no limit.
        crop_padding: Pixels by which a training image may shift; 0 for none.
        flip: Whether to mirror half of the images, if the data set allows it.
        cutout: Side in pixels of the square that is hidden in each image; 0 for none.
        statistics: What scores are normalised by: the statistics of each "batch" of validation
            images, as in [Pham2018], since an architecture's own differ from the "running" ones,
            which all of them share.
        valid_batch_size: Largest number of validation images at a time.
    """

    epochs: int = 310
    epochs_per_step: int = 5
    batch_size: int = 128
    learning_rate: float = 0.05
    last_learning_rate: float = 0.0005
    momentum: float = 0.9
    weight_decay: float = 2.5e-4
    gradient_clip: float = 5.0
    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    statistics: Statistics = "batch"
    valid_batch_size: int = 500

    def __post_init__(self) -> None:
        for name in ("epochs", "epochs_per_step", "batch_size", "valid_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.learning_rate >= self.last_learning_rate > 0:
            raise ValueError(
                "the learning rate must fall, and stay above 0, not go from "
                f"{self.learning_rate} to {self.last_learning_rate}"
            )
        for name in ("momentum", "weight_decay", "gradient_clip", "crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step; after the last of ``steps`` it stays."""
        wave = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
        return self.last_learning_rate + (self.learning_rate - self.last_learning_rate) * wave


class SupernetEvaluator:
    """Scores architectures by the validation accuracy of the weights they share.

    Extras: ``trained_lately``, 1 if it was among the architectures of the last training. The cost
    of the first score after a training has that of the training in it.

    Args:
        make: Makes the shared weights.
        data: What they learn.
        recipe: How.
        train_fraction: Share of each class of the training images to train on; the rest validates.
        split_seed: Which split it is, which initial weights, and in which order images validate.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.

    Attributes:
        chunk: 1.
        train_size: Number of batches in ``epochs_per_step`` passes.
        supernet: The shared weights.
    """

    def __init__(
        self,
        make: MakeSupernet,
        data: ImageData,
        recipe: SupernetRecipe | None = None,
        *,
        train_fraction: float = 0.9,
        split_seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.recipe = SupernetRecipe() if recipe is None else recipe
        train, valid = stratified_split(
            data.train_labels, train_fraction, rng=stream(split_seed, "split")
        )
        # Files may hold a class after another, and a batch of one class has statistics of its own.
        valid = valid[torch.randperm(len(valid), generator=stream(split_seed, "validation order"))]
        self._device = resolve_device(device)
        self._data = data.to(self._device)
        self._train, self._valid = train.to(self._device), valid.to(self._device)
        with scoped(stream(split_seed, "supernet")):
            self.supernet = make(in_channels=data.channels, num_classes=data.num_classes)
        channels_last(self.supernet, self._device)
        self._optimiser = torch.optim.SGD(
            self.supernet.parameters(),
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            nesterov=self.recipe.momentum > 0,
            weight_decay=self.recipe.weight_decay,
        )
        self._batches = math.ceil(len(train) / self.recipe.batch_size)
        self._steps, self._seconds = 0, 0.0
        self._lately: set[tuple[int, int]] = set()
        self.chunk = 1
        self.train_size = self._batches * self.recipe.epochs_per_step

    def train(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> None:
        """Train with a batch of images for each architecture, in their order.

        Raises:
            TrainingFailed: If the loss becomes NaN or infinite.
        """
        began = time.perf_counter()
        recipe, data = self.recipe, self._data
        flip = recipe.flip and data.flips
        total = torch.zeros((), device=self._device)
        parameters = list(self.supernet.parameters())
        batches: list[Tensor] = []
        self.supernet.train()
        with scoped(rng):
            for i in range(len(archs)):
                if not batches:
                    order = torch.randperm(len(self._train), generator=rng).to(self._device)
                    batches = list(self._train[order].tensor_split(self._batches))
                chosen = batches.pop(0)
                for group in self._optimiser.param_groups:
                    group["lr"] = recipe.rate(self._steps, recipe.epochs * self._batches)
                shown = crop_and_flip(
                    data.train_images[chosen], padding=recipe.crop_padding, flip=flip, rng=rng
                )
                shown = cutout(data.normalise(shown), recipe.cutout, rng=rng)
                logits = self.supernet(shown, archs[i : i + 1])
                loss = nn.functional.cross_entropy(logits, data.train_labels[chosen])
                self._optimiser.zero_grad()  # weights off the path get no gradient, nor momentum
                loss.backward()
                if recipe.gradient_clip:
                    nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip)
                self._optimiser.step()
                total += loss.detach()
                self._steps += 1
        if not math.isfinite(float(total)):
            raise TrainingFailed("the loss of the shared weights is no number: lower learning_rate")
        self._lately = set(hashing.to_pairs(hashing.keys(archs.to("cpu"))))
        self._seconds += time.perf_counter() - began

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture on all validation images; nothing is random."""
        del rngs
        parts = [self._score(archs[i : i + 1]) for i in range(len(archs))]
        return Evaluation.cat(parts or [Evaluation(torch.zeros(0), torch.zeros(0))])

    def _score(self, arch: ArchitectureBatch) -> Evaluation:
        began = time.perf_counter()
        data = self._data
        # Equal parts: the statistics of a few images at the end would say little.
        parts = math.ceil(len(self._valid) / self.recipe.valid_batch_size)
        right = torch.zeros((), device=self._device)
        with torch.inference_mode(), self._normalised():
            for chosen in self._valid.tensor_split(parts):
                logits = self.supernet(data.normalise(data.train_images[chosen]), arch)
                right += (logits.argmax(dim=1) == data.train_labels[chosen]).sum()
                right += (logits * 0).sum()  # NaN if one is not finite
        score = float(right) / len(self._valid)
        seconds = time.perf_counter() - began + self._seconds
        self._seconds = 0.0
        if math.isnan(score):
            return Evaluation.failed("the shared weights' outputs are no numbers", cost=seconds)
        (key,) = hashing.to_pairs(hashing.keys(arch.to("cpu")))
        lately = torch.tensor([float(key in self._lately)])
        return Evaluation(
            torch.tensor([score]), torch.tensor([seconds]), {"trained_lately": lately}
        )

    @contextmanager
    def _normalised(self) -> Iterator[None]:
        """Let the supernet normalise as in scoring, its running statistics as they are."""
        self.supernet.eval()
        norms = [m for m in self.supernet.modules() if isinstance(m, nn.BatchNorm2d)]
        by_batch = self.recipe.statistics == "batch"
        kept = [(norm, norm.running_mean, norm.running_var) for norm in norms] if by_batch else []
        for norm, _, _ in kept:  # without running statistics, those of the batch are used
            norm.running_mean = norm.running_var = None
        try:
            yield
        finally:
            for norm, mean, variance in kept:
                norm.running_mean, norm.running_var = mean, variance

    def state_dict(self) -> dict[str, Any]:
        """Return weights, momentum and the place in the schedule."""
        momentum = {
            name: self._optimiser.state[parameter]["momentum_buffer"].clone()
            for name, parameter in self.supernet.named_parameters()
            if self._optimiser.state[parameter].get("momentum_buffer") is not None
        }
        weights = {name: value.clone() for name, value in self.supernet.state_dict().items()}
        lately = torch.tensor(sorted(self._lately), dtype=torch.long).view(-1, 2)
        return {"steps": self._steps, "weights": weights, "momentum": momentum, "lately": lately}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._steps = state["steps"]
        self.supernet.load_state_dict(state["weights"])
        self._optimiser.state.clear()
        for name, parameter in self.supernet.named_parameters():
            if name in state["momentum"]:
                buffer = torch.empty_like(parameter).copy_(state["momentum"][name])
                self._optimiser.state[parameter] = {"momentum_buffer": buffer}
        self._lately = set(hashing.to_pairs(state["lately"]))
