import sys

import numpy as np
import pytest
from PIL import Image

from netwright.config.objects import make_data
from netwright.images.huggingface import huggingface

datasets = pytest.importorskip("datasets")


def some(n, *, seed=0, classes=("cat", "dog"), size=(4, 3)):
    """Images of width 4 and height 3 with their numbers."""
    pixels = np.random.default_rng(seed).integers(256, size=(n, *size[::-1], 3), dtype=np.uint8)
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=list(classes)),
        }
    )
    columns = {
        "id": list(range(n)),
        "picture": [Image.fromarray(one) for one in pixels],
        "kind": [i % len(classes) for i in range(n)],
    }
    return pixels.transpose(0, 3, 1, 2), datasets.Dataset.from_dict(columns, features=features)


def test_a_saved_one(tmp_path):
    train, training = some(6)
    test, testing = some(3, seed=1)
    datasets.DatasetDict(train=training, validation=testing).save_to_disk(tmp_path / "pets")
    data = make_data(f"huggingface:{tmp_path / 'pets'}")
    assert np.array_equal(data.train_images, train)
    assert np.array_equal(data.test_images, test)
    assert data.train_labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert (data.name, data.class_names, data.flips) == ("pets", ("cat", "dog"), False)
    assert tuple(huggingface(tmp_path / "pets", size=2).train_images.shape) == (6, 3, 2, 2)


def test_without_a_test_part_a_fifth_is_put_aside(tmp_path):
    some(10)[1].save_to_disk(tmp_path / "pets")
    data = huggingface(tmp_path / "pets")
    assert (len(data.train_labels), len(data.test_labels)) == (8, 2)
    assert sorted(data.test_labels.tolist()) == [0, 1]


def test_parquet_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    train, training = some(6)
    (tmp_path / "pets").mkdir()
    training.to_parquet(tmp_path / "pets" / "train-00000.parquet")
    some(2, seed=1)[1].to_parquet(tmp_path / "pets" / "test-00000.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = huggingface(tmp_path / "pets")
    assert np.array_equal(data.train_images, train)
    assert len(data.test_labels) == 2


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    _, training = some(6)
    datasets.DatasetDict(test=training).save_to_disk(tmp_path / "a")
    with pytest.raises(ValueError, match="has no part train, only test"):
        huggingface(tmp_path / "a")
    training.remove_columns("kind").save_to_disk(tmp_path / "b")
    with pytest.raises(ValueError, match="no column of class labels, only id, picture"):
        huggingface(tmp_path / "b")
    training.remove_columns("picture").save_to_disk(tmp_path / "c")
    with pytest.raises(ValueError, match="no column of images, only id, kind"):
        huggingface(tmp_path / "c")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ImportError, match=r"needs datasets: pip install 'netwright\[huggingface\]'"
    ):
        huggingface(tmp_path / "a")


def test_a_name_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no data set nowhere"):
        huggingface("nowhere")
