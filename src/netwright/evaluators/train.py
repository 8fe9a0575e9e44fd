"""The oracle evaluator: train every candidate from scratch and validate it.

[GraphPNAS] 3.1.2 and 4.1. The paper's low-data regime is ``train_fraction=LOW_DATA``: a tenth of
each class of the *training* images to train on, the rest to validate on. Its early stopping
(appendix C.4) is ``train_fraction=EARLY_STOPPING`` with a recipe of few epochs; the learning rate
then decays within these few. The test images are not looked at, unless the caller asks for the
test accuracy beside the score, as the maker of a benchmark does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from netwright.evaluation import Evaluation
from netwright.evaluators.training import (
    Recipe,
    TrainingFailed,
    accuracy,
    fit,
    resolve_device,
    train,
)
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.data import ImageData
from netwright.images.split import stratified_split
from netwright.networks.cost import count_parameters
from netwright.rng import scoped, stream

LOW_DATA = 0.1  # [GraphPNAS] 4.1
EARLY_STOPPING = 0.8

#: For small images in the low-data regime: under a second per NAS-Bench-101 cell of 16 channels on
#: one core, for a ranking of cells that two seeds agree on (docs/results/training-evaluator.md).
DIGITS_RECIPE = Recipe(epochs=12, batch_size=32, nesterov=True, label_smoothing=0.1, crop_padding=1)

#: How networks are trained in [GraphPNAS]: those of table 1 (table 8, appendix C.2), and the best
#: ones of table 3 on all data (appendix D; the size of the hole is [DeVries2017]'s).
PAPER_RECIPE = Recipe()
ENAS_FINAL_RECIPE = Recipe(epochs=600, weight_decay=2e-4, cutout=16, cutout_chance=0.4)

Clock = Literal["wall", "processor"]


@runtime_checkable
class Build(Protocol):
    """Makes a network of a single architecture, its parameters drawn from torch's global state."""

    def __call__(self, arch: ArchitectureBatch, *, in_channels: int, num_classes: int) -> nn.Module:
        """Return a module that maps images to class logits."""
        ...


@dataclass
class TrainEvaluator:
    """Trains each architecture on a part of the training images, scores it on the others.

    The score is the mean validation accuracy of the last epochs. All candidates see the same
    split, whatever their number; weights and batches come from an evaluation's own stream. Extras
    are ``parameters`` (a count), ``train_loss`` (nats, of the last epoch) and, with ``test``,
    ``test_accuracy``: that of the same network, after the last epoch, on the test images.

    A loss that is no number, too little memory, or any exception while the network is built or
    runs is a failed evaluation. Called from several threads, evaluations take turns, for they
    share torch's global random state: `Isolated` runs them side by side.

    Attributes:
        build: Makes the network; picklable if the evaluator shall run in another process.
        data: What the networks learn.
        recipe: How they are trained.
        train_fraction: Share of each class of the training images to train on.
        split_seed: Which split it is.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        chunk: Architectures to hand over at a time.
        test: Whether to report the test accuracy too; the score is the same either way.
        clock: Which seconds are the cost: those that pass ("wall"), or those that this process
            computes ("processor", summed over its threads), which others do not slow down.
    """

    build: Build
    data: ImageData
    recipe: Recipe
    train_fraction: float = LOW_DATA
    split_seed: int = 0
    device: str = "auto"
    chunk: int = 1
    test: bool = False
    clock: Clock = "wall"
    train_index: Int64[Tensor, " train"] = field(init=False, repr=False)
    valid_index: Int64[Tensor, " valid"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.train_index, self.valid_index = stratified_split(
            self.data.train_labels, self.train_fraction, rng=stream(self.split_seed, "split")
        )

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Train and validate every architecture; architecture ``i`` draws from ``rngs[i]`` only."""
        return one_by_one(self.evaluate, archs, rngs)

    def evaluate(self, arch: ArchitectureBatch, *, rng: torch.Generator) -> Evaluation:
        """Train and validate a single architecture."""
        device = resolve_device(self.device)

        def attempt() -> tuple[float, dict[str, float]]:
            data = self.data.to(device)
            with scoped(rng):
                model = self.build(arch, in_channels=data.channels, num_classes=data.num_classes)
            history = fit(
                model, data, self.recipe, rng=rng, train=self.train_index, valid=self.valid_index
            )
            extras = {
                "parameters": float(count_parameters(model)),
                "train_loss": history.epochs[-1].train_loss,
            }
            if self.test:
                extras["test_accuracy"] = accuracy(
                    model,
                    data,
                    data.test_images,
                    data.test_labels,
                    precision=self.recipe.precision,
                )
            return history.mean_valid_accuracy(self.recipe.last_epochs), extras

        return outcome(attempt, device, self.clock)


@dataclass
class FinalEvaluator:
    """Trains each architecture on *all* training images and tests it: the last word of a search.

    The score is the accuracy on the test images, so this is never the signal of a search. Extras
    are ``parameters`` (a count). Failures are those of `TrainEvaluator`.

    Attributes:
        build: Makes the network; picklable if the evaluator shall run in another process.
        data: What the networks learn.
        recipe: How they are trained.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        chunk: Architectures to hand over at a time.
    """

    build: Build
    data: ImageData
    recipe: Recipe
    device: str = "auto"
    chunk: int = 1

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Train and test every architecture; architecture ``i`` draws from ``rngs[i]`` only."""
        return one_by_one(self.evaluate, archs, rngs)

    def evaluate(self, arch: ArchitectureBatch, *, rng: torch.Generator) -> Evaluation:
        """Train and test a single architecture."""
        data = self.data

        def attempt() -> tuple[float, dict[str, float]]:
            trained = train(
                lambda: self.build(arch, in_channels=data.channels, num_classes=data.num_classes),
                data,
                self.recipe,
                rng=rng,
                device=self.device,
            )
            return trained.test_accuracy, {"parameters": float(count_parameters(trained.model))}

        return outcome(attempt, resolve_device(self.device))


def one_by_one(
    evaluate: Callable[..., Evaluation],
    archs: ArchitectureBatch,
    rngs: Sequence[torch.Generator],
) -> Evaluation:
    """Evaluate each of several architectures by itself; ``evaluate`` takes one, and its ``rng``."""
    ones = [evaluate(archs[i : i + 1], rng=rng) for i, rng in enumerate(rngs)]
    empty = Evaluation(torch.zeros(0), torch.zeros(0))
    return Evaluation.cat(ones or [empty])


def outcome(
    attempt: Callable[[], tuple[float, dict[str, float]]],
    device: torch.device,
    clock: Clock = "wall",
) -> Evaluation:
    """Return the score and the extras of an attempt, or its failure, with the seconds it took."""
    now = time.perf_counter if clock == "wall" else time.process_time
    began = now()
    try:
        score, extras = attempt()
    except TrainingFailed as failure:
        reason = str(failure)
    except Exception as error:  # a network that cannot run is a result of the search
        reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    else:
        return Evaluation(
            torch.tensor([score]),
            torch.tensor([now() - began]),
            {name: torch.tensor([value], dtype=torch.float64) for name, value in extras.items()},
        )
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the failed network may have filled the device
    return Evaluation.failed(reason, cost=now() - began)
