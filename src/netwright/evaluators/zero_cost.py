"""Zero-cost scores: a network's quality guessed from its weights as drawn, and one batch of images.

As [Abdelfattah2021] made them scores of whole networks, sums run over the weights of convolutions
and linear layers, loss is the mean cross-entropy in nats, and a forward pass normalises by the
statistics of its batch. Larger is better, by each score's own lights:

==============  ===================================================================================
``parameters``  trainable numbers
``flops``       multiply-adds of one image
``grad_norm``   sum over layers of the loss gradient's Euclidean norm [Abdelfattah2021]
``snip``        sum of |weight * gradient of the loss| [Lee2019]
``fisher``      sum over channels of half the mean over images of (sum over the layer's outputs of
                output * gradient of the loss)^2 [Theis2018], [Turner2020]
``synflow``     ln(1 + sum of weight * gradient), of the network with absolute weights and no
                normalisation, and the sum of its logits for an image of ones [Tanaka2020]; only
                the logarithm is ours, since the sum spans many orders of magnitude
``naswot``      ln |det K|, where K[i, j] is at how many ReLUs images i and j agree in being above
                zero or not [Mellor2021]
``jacob_cov``   minus the sum of ln(v + k) + 1 / (v + k), k = 1e-5, over the eigenvalues v of the
                images' correlations of d(sum of logits) / d(image); the first version of
                [Mellor2021], arXiv:2006.04647v1
==============  ===================================================================================
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from netwright.evaluation import Evaluation
from netwright.evaluators.train import Build, one_by_one, outcome
from netwright.evaluators.training import TrainingFailed, resolve_device
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.data import ImageData
from netwright.networks.cost import count_parameters, measure_flops
from netwright.rng import scoped, stream

ScoreName = Literal[
    "parameters", "flops", "grad_norm", "snip", "fisher", "synflow", "naswot", "jacob_cov"
]
_JACOB_COV_K = 1e-5

Images = Float[Tensor, "image channel height width"]
Labels = Int64[Tensor, " image"]


@dataclass
class ZeroCostEvaluator:
    """Scores each architecture without training.

    All candidates see the same images, whatever their number; weights come from an evaluation's
    own stream. The extra is ``parameters`` (a count). A score that is not finite (``naswot`` of a
    network to which two images look alike), too little memory, or any exception while the network
    is built or runs is a failed evaluation.

    Attributes:
        build: Makes the network; picklable if the evaluator shall run in another process.
        data: Where the images come from: the training part.
        score: A `ScoreName`.
        batch_size: How many images, at most all.
        batch_seed: Which images.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        chunk: Architectures to hand over at a time.
    """

    build: Build
    data: ImageData
    score: str = "naswot"
    batch_size: int = 64
    batch_seed: int = 0
    device: str = "auto"
    chunk: int = 1
    index: Int64[Tensor, " image"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.score not in get_args(ScoreName):
            known = ", ".join(get_args(ScoreName))
            raise ValueError(f"unknown zero-cost score {self.score!r}: use one of {known}")
        if self.batch_size < 2:
            raise ValueError(f"a batch needs at least 2 images, not {self.batch_size}")
        order = torch.randperm(
            len(self.data.train_labels), generator=stream(self.batch_seed, "zero-cost batch")
        )
        self.index = order[: self.batch_size]

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture; architecture ``i`` draws from ``rngs[i]`` only."""
        return one_by_one(self.evaluate, archs, rngs)

    def evaluate(self, arch: ArchitectureBatch, *, rng: torch.Generator) -> Evaluation:
        """Score a single architecture."""
        device, data = resolve_device(self.device), self.data

        def build() -> nn.Module:
            return self.build(arch, in_channels=data.channels, num_classes=data.num_classes)

        def attempt() -> tuple[float, dict[str, float]]:
            with scoped(rng):  # dropout too
                model = build().to(device)
                extras = {"parameters": float(count_parameters(model))}
                match self.score:
                    case "parameters":
                        score = extras["parameters"]
                    case "flops":
                        channels, height, width = data.train_images.shape[1:]
                        score = float(measure_flops(build, (channels, height, width)))
                    case "synflow":
                        score = synflow(model, tuple(data.train_images.shape[1:]))
                    case name:
                        images = data.normalise(data.train_images[self.index].to(device))
                        labels = data.train_labels[self.index].to(device)
                        score = SCORES[name](model.train(), images, labels)
            if not math.isfinite(score):
                raise TrainingFailed(f"{self.score} is {score}")
            return score, extras

        return outcome(attempt, device)


def grad_norm(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return the sum over layers of the norm of the loss gradient."""
    gradients = _gradients(_loss(model, images, labels), _weights(model))
    return _sum([gradient.norm() for gradient in gradients])


def snip(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return the sum of |weight * gradient of the loss|."""
    weights = _weights(model)
    gradients = _gradients(_loss(model, images, labels), weights)
    return _sum([(w * g).abs().sum() for w, g in zip(weights, gradients, strict=True)])


def fisher(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return half the mean over images of the squared sums of output * gradient, per channel."""
    outputs: list[Tensor] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del layer, inputs
        outputs.append(output)
        return output.clone()  # for what comes next may change it in place

    hooks = [layer.register_forward_hook(keep) for layer in _layers(model)]
    loss = _loss(model, images, labels)
    for hook in hooks:
        hook.remove()
    found = []
    for output, gradient in zip(outputs, _gradients(loss, outputs), strict=True):
        by_channel = (output * gradient).reshape(*output.shape[:2], -1).sum(dim=2)
        found.append(by_channel.square().mean(dim=0).sum() / 2)
    return _sum(found)


def synflow(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Return ln(1 + sum of weight * gradient) for an image of ones; ``model`` is changed."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.register_forward_hook(lambda _layer, inputs, _output: inputs[0].clone())
    weights = _weights(model)
    ones = torch.ones(1, *shape, dtype=torch.float64, device=weights[0].device)
    gradients = _gradients(model(ones).sum(), weights)
    return math.log1p(_sum([(w * g).sum() for w, g in zip(weights, gradients, strict=True)]))


def naswot(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return the logarithm of the determinant of how often images agree at the ReLUs."""
    del labels
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del layer, inputs
        on = (output.flatten(1) > 0).to(images.dtype)
        kernel.add_(on @ on.T + (1 - on) @ (1 - on.T))

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def jacob_cov(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return minus the sum of ln(v + k) + 1 / (v + k) over the Jacobian's correlations."""
    del labels
    images = images.detach().clone().requires_grad_()
    (jacobian,) = _gradients(model(images).sum(), [images])
    correlations = torch.corrcoef(jacobian.flatten(1).double())
    if not correlations.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(correlations).clamp(min=0) + _JACOB_COV_K
    return -float((values.log() + 1 / values).sum())


#: Scores that look at images.
SCORES: dict[str, Callable[[nn.Module, Images, Labels], float]] = {
    "grad_norm": grad_norm,
    "snip": snip,
    "fisher": fisher,
    "naswot": naswot,
    "jacob_cov": jacob_cov,
}


def _layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def _weights(model: nn.Module) -> list[Tensor]:
    return [layer.weight for layer in _layers(model)]


def _loss(model: nn.Module, images: Images, labels: Labels) -> Tensor:
    return nn.functional.cross_entropy(model(images), labels)


def _gradients(value: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, zero where ``value`` does not depend on something."""
    return list(torch.autograd.grad(value, list(of), allow_unused=True, materialize_grads=True))


def _sum(parts: Sequence[Tensor]) -> float:
    return float(torch.stack(list(parts)).detach().double().sum()) if parts else 0.0
