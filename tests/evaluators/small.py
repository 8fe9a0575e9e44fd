"""Small networks and data for the tests of training; importable by child processes."""

import torch
from torch import nn

from netwright.evaluators.train import FinalEvaluator, TrainEvaluator
from netwright.evaluators.training import Recipe
from netwright.images.data import ImageData
from netwright.rng import stream


class SmallNetwork(nn.Module):
    """Two convolutions; dropout, so that every kind of randomness is at work."""

    def __init__(self, in_channels, num_classes, width=8):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(8 * width, num_classes)

    def forward(self, images):
        return self.classifier(self.body(images))


def small(arch, *, in_channels, num_classes):
    """The width grows with the operations of the architecture."""
    return SmallNetwork(in_channels, num_classes, 4 + int(arch.ops.sum()))


def stripes(n=48, *, flips=False, name="stripes"):
    """Two classes told apart at a glance: horizontal and vertical stripes, with noise."""
    rng = stream(0, name)
    labels = torch.arange(n) % 2
    board = (torch.arange(6) % 2 * 200).expand(6, 6)
    images = torch.where((labels == 0)[:, None, None], board, board.T)[:, None]
    images = (images + torch.randint(56, images.shape, generator=rng)).to(torch.uint8)
    half = n // 2
    return ImageData(
        name, images[:half], labels[:half], images[half:], labels[half:], ("h", "v"), flips
    )


RECIPE = Recipe(epochs=3, batch_size=8, crop_padding=1, last_epochs=2)


def finalist(build=small, data=None):
    """An evaluator that trains on everything and tests."""
    return FinalEvaluator(build, stripes() if data is None else data, RECIPE, device="cpu")


def trainer(build=small, **options):
    """An evaluator that trains in milliseconds."""
    fields = {"data": stripes(), "recipe": RECIPE, "train_fraction": 0.5, "device": "cpu"}
    return TrainEvaluator(build, **(fields | options))
