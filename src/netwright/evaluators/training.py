"""Training a network from scratch on images.

Optimiser and schedule are those of the oracle evaluator ([GraphPNAS] table 8): SGD, learning rate
0.1 with cosine decay to 0, weight decay 1e-4, batches of 256, crops and flips. The paper gives no
momentum; 0.9 is ours (``Recipe(momentum=0.0)`` is plain SGD). Batches of an epoch differ by at
most one image, so that none is too small for batch normalisation.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from netwright.evaluators.layout import channels_first, channels_last
from netwright.images.augment import crop_and_flip, cutout
from netwright.images.data import ImageData
from netwright.rng import scoped

Precision = Literal["float32", "bfloat16"]


class TrainingFailed(Exception):
    """The training came to nothing: the loss or the outputs are no longer numbers."""


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the oracle evaluator's ([GraphPNAS] table 8, C.2).

    Attributes:
        epochs: Passes over the training images.
        batch_size: Largest number of images in a batch.
        learning_rate: At the start; it follows half a cosine wave down to 0, step by step.
        momentum: Of SGD.
        nesterov: Whether the momentum looks ahead.
        weight_decay: Of all parameters.
        gradient_clip: Largest norm of the gradient; 0 for no limit.
        crop_padding: Pixels by which a training image may shift; 0 for none.
        flip: Whether to mirror half of the images, if the data set allows it.
        cutout: Side in pixels of the square that is hidden in an image, after any resizing; 0 for
            none.
        cutout_chance: Share of the training images that get one.
        label_smoothing: Share of the target spread over all classes.
        last_epochs: The score is the mean validation accuracy of that many last epochs.
        precision: "bfloat16" computes most of the network in 16 bits (torch's autocast), which is
            up to twice as fast on recent GPUs and changes results a little.
        compile: Whether to compile the network, which takes a minute and pays on a GPU; where
            there is no compiler, the training fails.
    """

    epochs: int = 300
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    gradient_clip: float = 0.0
    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    cutout_chance: float = 1.0
    label_smoothing: float = 0.0
    last_epochs: int = 3
    precision: Precision = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "last_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("momentum", "weight_decay", "gradient_clip", "crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        for name in ("label_smoothing", "cutout_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, not {getattr(self, name)}")
        if self.precision not in get_args(Precision):
            known = " or ".join(get_args(Precision))
            raise ValueError(f"precision must be {known}, not {self.precision!r}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")


@dataclass(frozen=True)
class Epoch:
    """What an epoch of training gave.

    Attributes:
        number: From 1.
        train_loss: Mean cross-entropy over the epoch's training images, in nats.
        valid_accuracy: Share of right answers on the validation images; None where not measured.
        seconds: Since the training began.
    """

    number: int
    train_loss: float
    valid_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class History:
    """The course of a training."""

    epochs: tuple[Epoch, ...]

    def mean_valid_accuracy(self, last: int) -> float:
        """Mean validation accuracy of the ``last`` epochs, fewer if there were fewer.

        Raises:
            ValueError: If one of them was not validated.
        """
        measured = [epoch.valid_accuracy for epoch in self.epochs[-last:]]
        values = [accuracy for accuracy in measured if accuracy is not None]
        if len(values) < len(measured):
            raise ValueError(f"the last {last} epochs were not all validated")
        return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network trained on all training images.

    Attributes:
        model: Its weights trained, in evaluation mode.
        history: Of the training.
        test_accuracy: Share of right answers on the test images.
    """

    model: nn.Module
    history: History
    test_accuracy: float


def cosine(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: from ``peak`` at step 0 down to 0 at ``steps``."""
    return 0.5 * peak * (1 + math.cos(math.pi * step / steps))


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: If CUDA is named and there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name.startswith("cuda") and not available:
        raise ValueError("there is no CUDA device here: use the device cpu or auto")
    return torch.device(name)


def train(
    make: Callable[[], nn.Module],
    data: ImageData,
    recipe: Recipe,
    *,
    rng: torch.Generator,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a new network on all training images, then test it once.

    Args:
        make: Builds the network; its parameters are initialised from ``rng``.
        data: What to learn.
        recipe: How to train.
        rng: Of parameters, batches, augmentation and dropout.
        device: Where to train: "cpu", "cuda" or "auto".
        on_epoch: Called after every epoch.

    Raises:
        TrainingFailed: If the loss or the outputs cease to be numbers.
    """
    data = data.to(resolve_device(device))
    with scoped(rng):
        model = make()
    history = fit(model, data, recipe, rng=rng, on_epoch=on_epoch)
    test_accuracy = accuracy(
        model, data, data.test_images, data.test_labels, precision=recipe.precision
    )
    if math.isnan(test_accuracy):
        raise TrainingFailed("the trained network's outputs are not finite")
    return Trained(model, history, test_accuracy)


def fit(
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    rng: torch.Generator,
    train: Int64[Tensor, " train"] | None = None,
    valid: Int64[Tensor, " valid"] | None = None,
    validate_always: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train ``model`` in place, where ``data`` lives. The test part is not looked at.

    Args:
        model: Images in, class logits out; moved to the data's device.
        data: What to learn.
        recipe: How to train.
        rng: Of batches, augmentation and dropout. Nothing else is random, and on a CPU nothing
            else changes the outcome but the number of threads.
        train: Positions of the training images to learn from; all if None.
        valid: Positions of the training images to validate on; none if None.
        validate_always: Whether to validate after every epoch, not only those that count.
        on_epoch: Called after every epoch.

    Raises:
        TrainingFailed: If the loss or the outputs cease to be numbers.
    """
    images, labels = data.train_images, data.train_labels
    device = images.device
    if train is not None:
        images, labels = images[train.to(device)], labels[train.to(device)]
    held_out = None
    if valid is not None:
        valid = valid.to(device)
        held_out = data.train_images[valid], data.train_labels[valid]
    channels_last(model, device)
    network = cast(nn.Module, torch.compile(model)) if recipe.compile else model
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    flip = recipe.flip and data.flips
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    batches = math.ceil(len(images) / recipe.batch_size)
    steps, step = recipe.epochs * batches, 0
    began, course = time.perf_counter(), []
    with scoped(rng):
        for number in range(1, recipe.epochs + 1):
            model.train()
            total = torch.zeros((), device=device)
            order = torch.randperm(len(images), generator=rng).to(device)
            for batch in order.tensor_split(batches):
                for group in optimiser.param_groups:
                    group["lr"] = cosine(step, steps, recipe.learning_rate)
                shown = crop_and_flip(
                    images[batch], padding=recipe.crop_padding, flip=flip, rng=rng
                )
                shown = cutout(
                    data.normalise(shown), recipe.cutout, chance=recipe.cutout_chance, rng=rng
                )
                with _cast(device, recipe.precision):
                    loss = loss_of(network(shown), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                if recipe.gradient_clip:
                    nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip)
                optimiser.step()
                total += loss.detach() * len(batch)
                step += 1
            train_loss = float(total) / len(images)
            if not math.isfinite(train_loss):
                what = "NaN" if math.isnan(train_loss) else "infinite"
                raise TrainingFailed(f"loss became {what} in epoch {number}")
            counts = validate_always or number > recipe.epochs - recipe.last_epochs
            valid_accuracy = None
            if held_out is not None and counts:
                valid_accuracy = accuracy(network, data, *held_out, precision=recipe.precision)
                if math.isnan(valid_accuracy):
                    raise TrainingFailed(f"outputs are not finite after epoch {number}")
            seconds = time.perf_counter() - began
            course.append(Epoch(number, train_loss, valid_accuracy, seconds))
            if on_epoch is not None:
                on_epoch(course[-1])
    channels_first(model.eval())
    return History(tuple(course))


def accuracy(
    model: nn.Module,
    data: ImageData,
    images: UInt8[Tensor, "image channel height width"],
    labels: Int64[Tensor, " image"],
    *,
    batch_size: int = 256,
    precision: Precision = "float32",
) -> float:
    """Return the share of images whose class gets the largest logit; NaN if a logit is not finite.

    Args:
        model: Put into evaluation mode.
        data: Where the images come from: it normalises them.
        images: On the model's device.
        labels: Their classes.
        batch_size: Images at a time.
        precision: As in a `Recipe`.
    """
    model.eval()
    right = torch.zeros((), device=images.device)
    with torch.inference_mode(), _cast(images.device, precision):
        for part, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            logits = model(data.normalise(part))
            right += (logits.argmax(dim=1) == truth).sum()
            right += (logits * 0).sum()  # NaN if one is not finite, without waiting for the device
    return float(right) / len(images)


def log_probabilities(
    model: nn.Module,
    data: ImageData,
    images: UInt8[Tensor, "image channel height width"],
    *,
    batch_size: int = 256,
    precision: Precision = "float32",
) -> Float[Tensor, "image class"]:
    """Return the log-probability of every class for every image, in single precision.

    Args:
        model: Put into evaluation mode.
        data: Where the images come from: it normalises them.
        images: On the model's device.
        batch_size: Images at a time.
        precision: As in a `Recipe`.
    """
    channels_last(model.eval(), images.device)
    with torch.inference_mode(), _cast(images.device, precision):
        parts = [model(data.normalise(part)).float() for part in images.split(batch_size)]
    channels_first(model)
    return torch.cat(parts).log_softmax(dim=1)


def _cast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
