"""A data set for image classification: all of it, as tensors."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with labels, a training and a test part.

    Images stay bytes; `normalise` turns the few at hand into floats. A search may look at the
    training part only: it splits that again, and keeps the test part for its last word.

    Attributes:
        name: What users call it.
        train_images: Images to learn from and to validate on.
        train_labels: Their class, 0 to ``num_classes - 1``.
        test_images: Images for the final test.
        test_labels: Their class.
        class_names: Name of each class.
        flips: Whether an image keeps its class when mirrored left to right.
        resize: Side in pixels of the squares that `normalise` enlarges or shrinks images to; 0 for
            as they are.
        mean: Per channel, of the training images scaled to [0, 1].
        std: Likewise the standard deviation; 1 for a channel that never changes.
    """

    name: str
    train_images: UInt8[Tensor, "train channel height width"]
    train_labels: Int64[Tensor, " train"]
    test_images: UInt8[Tensor, "test channel height width"]
    test_labels: Int64[Tensor, " test"]
    class_names: tuple[str, ...]
    flips: bool
    resize: int = 0
    mean: Float[Tensor, " channel"] = field(init=False)
    std: Float[Tensor, " channel"] = field(init=False)

    def __post_init__(self) -> None:
        if self.resize < 0:
            raise ValueError(f"{self.name}: resize must be at least 0, not {self.resize}")
        if len(self.class_names) < 2:
            raise ValueError(f"{self.name}: a classifier needs at least two classes")
        for part, labels in (("training", self.train_labels), ("test", self.test_labels)):
            if not len(labels):
                raise ValueError(f"{self.name}: there are no {part} images")
            if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
                raise ValueError(f"{self.name}: {part} labels must be 0 to {self.num_classes - 1}")
        # Counts of the 256 byte values are exact, whatever the number of images.
        counts = torch.stack(
            [part.flatten().bincount(minlength=256) for part in self.train_images.unbind(1)]
        ).double()
        weights = counts / counts.sum(dim=1, keepdim=True)
        values = torch.arange(256, device=counts.device).double() / 255
        mean = weights @ values
        std = (weights * (values - mean[:, None]) ** 2).sum(dim=1).sqrt()
        object.__setattr__(self, "mean", mean.float())
        object.__setattr__(self, "std", torch.where(std > 0, std, 1.0).float())

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train_images.shape[1]

    def normalise(
        self, images: UInt8[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image channel height_out width_out"]:
        """Scale to mean 0 and standard deviation 1 per channel, as of the training images.

        With ``resize``, images become squares of that side (bilinear, averaging if smaller).
        """
        mean, std = (s.to(images.device)[:, None, None] for s in (self.mean, self.std))
        scaled: Tensor = (images / 255 - mean) / std
        if self.resize:
            size = (self.resize, self.resize)
            scaled = nn.functional.interpolate(scaled, size, mode="bilinear", antialias=True)
        return scaled

    def to(self, device: torch.device | str) -> "ImageData":
        """Copy to ``device``; return this very object if it is there already."""
        if self.train_images.device == torch.device(device):
            return self
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )
