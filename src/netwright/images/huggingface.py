"""Data sets of the Hugging Face hub, or saved by its library ``datasets``."""

from itertools import chain
from pathlib import Path
from typing import Any

import torch

from netwright.images.data import ImageData
from netwright.images.decode import plain, stack
from netwright.images.split import stratified_split
from netwright.rng import stream

_TESTS = ("test", "validation", "valid", "val")


def huggingface(
    name: str | Path, *, size: int | tuple[int, int] | None = None, flips: bool = False
) -> ImageData:
    """Read a data set for image classification with the library ``datasets``.

    Its first column of images and its first of class labels are read, of the part "train" and of
    the first there is of "test", "validation", "valid" and "val". Without one of these a fixed
    fifth of each class is put aside for the test (`stratified_split` with the stream named
    "huggingface" of seed 0).

    Args:
        name: A folder that ``save_to_disk`` wrote; or whatever ``load_dataset`` takes, such as a
            folder of Parquet files or a name on the hub, from where it is then downloaded.
        size: Height and width to resize to, or the side of a square; if None, the size of the
            first training image.
        flips: Whether a mirrored image still belongs to its class; not so for letters or signs.

    Raises:
        FileNotFoundError: If there is no such data set.
        ImportError: If ``datasets`` or Pillow is missing.
        ValueError: If it has no training part, or no column of images or of class labels.
    """
    try:
        import datasets
        from PIL import Image  # noqa: F401 (datasets decodes with it)
    except ImportError as missing:
        raise ImportError(
            f"reading Hugging Face data sets needs {missing.name}: "
            "pip install 'netwright[huggingface]'"
        ) from None
    folder = Path(name)
    saved = (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file()
    try:
        found: Any = datasets.load_from_disk(name) if saved else datasets.load_dataset(str(name))
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise FileNotFoundError(f"there is no data set {name}: {error}") from error
    parts = dict(found) if isinstance(found, dict) else {"train": found}
    if "train" not in parts:
        raise ValueError(f"{name} has no part train, only {', '.join(map(str, parts))}")
    train = parts["train"]
    image = _column(str(name), train, datasets.Image, "images")
    label = _column(str(name), train, datasets.ClassLabel, "class labels")
    tests = next((parts[part] for part in _TESTS if part in parts), None)
    both = [train] if tests is None else [train, tests]
    pixels = stack((plain(shown) for shown in chain(*(part[image] for part in both))), size)
    labels = torch.tensor([number for part in both for number in part[label]])
    if int(labels.min()) < 0:
        raise ValueError(f"{name} has images without a class: leave them out")
    order = torch.arange(len(labels))
    if tests is None:
        tested, kept = stratified_split(labels, 0.2, rng=stream(0, "huggingface"))
    else:
        kept, tested = order[: len(train)], order[len(train) :]
    return ImageData(
        name=folder.name,
        train_images=pixels[kept],
        train_labels=labels[kept],
        test_images=pixels[tested],
        test_labels=labels[tested],
        class_names=tuple(train.features[label].names),
        flips=flips,
    )


def _column(name: str, part: Any, kind: type, what: str) -> str:
    found = next((key for key, feature in part.features.items() if isinstance(feature, kind)), None)
    if found is None:
        raise ValueError(
            f"{name} has no column of {what}, only {', '.join(part.features)}: cast one with "
            "Dataset.cast_column"
        )
    return str(found)
