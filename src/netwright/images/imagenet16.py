"""ImageNet16-120: the first 120 classes of ImageNet at 16 x 16 pixels, of NAS-Bench-201.

The files are those of downsampled ImageNet: ``train_data_batch_1`` to ``train_data_batch_10`` and
``val_data``, with labels from 1 to 1000. The validation images become the test part.
"""

from pathlib import Path

import torch

from netwright.images.data import ImageData
from netwright.images.pickled import batch_of

_TRAIN = tuple(f"train_data_batch_{i}" for i in range(1, 11))
_TEST = "val_data"
_SHAPE = (3, 16, 16)
CLASSES = 120


def imagenet16(path: str | Path) -> ImageData:
    """Read ImageNet16-120.

    Args:
        path: The folder, called ``ImageNet16`` in the official archive, or that archive.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ValueError: If a file is damaged or holds other images.
    """
    root = Path(path)
    for name in (*_TRAIN, _TEST):
        if not (root / name).is_file():
            raise FileNotFoundError(f"{root} has no {name}: put the files of ImageNet16 there")
    parts = []
    for names in (_TRAIN, (_TEST,)):
        batches = [batch_of(root / name, "labels", _SHAPE) for name in names]
        images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
        if int(labels.min()) < 1:
            raise ValueError(f"{root / names[0]} has labels below 1: not the files of ImageNet16")
        few = labels <= CLASSES
        parts += [images[few], labels[few] - 1]
    train_images, train_labels, test_images, test_labels = parts
    return ImageData(
        name="imagenet16-120",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(map(str, range(1, CLASSES + 1))),
        flips=True,
    )
