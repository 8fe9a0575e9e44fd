"""The python version of CIFAR and downsampled ImageNet: pickles, read as plain data."""

import os
import pickle

import numpy as np
import pytest
import torch
from pickling import python2

from netwright.config.objects import make_data
from netwright.images.cifar import cifar10, cifar100
from netwright.images.imagenet16 import imagenet16
from netwright.images.pickled import batch_of


def rows(n, size, *, seed=0):
    return np.random.default_rng(seed).integers(256, size=(n, size), dtype=np.uint8)


@pytest.mark.parametrize("write", [python2, pickle.dumps, lambda v: pickle.dumps(v, protocol=3)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("labels", ["list", "array"])
def test_a_batch(tmp_path, write, order, labels):
    data, numbers = rows(300, 12), [i % 300 for i in range(300)]
    given = numbers if labels == "list" else np.array(numbers, np.int64)
    content = {"labels": given, "data": np.asarray(data, order=order), "name": "x" * 500}
    (tmp_path / "batch").write_bytes(write(content))
    images, found = batch_of(tmp_path / "batch", "labels", (3, 2, 2))
    assert np.array_equal(images.numpy(), data.reshape(300, 3, 2, 2))
    assert found.tolist() == numbers


def test_python2_pickles_here_are_what_python_reads():
    content = {"labels": [3, 500], "data": rows(2, 5), "text": "abc" * 200}
    found = pickle.loads(python2(content), encoding="bytes")
    assert found[b"labels"] == [3, 500]
    assert np.array_equal(found[b"data"], content["data"])
    assert found[b"text"] == b"abc" * 200


def ten(root, write=python2):
    parts = []
    for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        parts.append(rows(4, 3072, seed=seed))
        content = {"batch_label": name, "labels": [seed, 1, 2, 9], "data": parts[-1]}
        (root / name).write_bytes(write(content | {"filenames": [f"{i}.png" for i in range(4)]}))
    names = {"num_cases_per_batch": 4, "label_names": [f"class{i}" for i in range(10)]}
    (root / "batches.meta").write_bytes(write(names))
    return parts


@pytest.mark.parametrize("write", [python2, pickle.dumps])
def test_cifar10(tmp_path, write):
    parts = ten(tmp_path, write)
    data = make_data(f"cifar10:{tmp_path}")
    assert np.array_equal(data.train_images, np.concatenate(parts[:5]).reshape(-1, 3, 32, 32))
    assert np.array_equal(data.test_images, parts[5].reshape(-1, 3, 32, 32))
    assert data.train_labels[4:8].tolist() == [1, 1, 2, 9]
    assert data.class_names[7] == "class7"
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"no data_batch_3: .*python version of cifar10"):
        cifar10(tmp_path)


def test_cifar100(tmp_path):
    for name in ("train", "test"):
        content = {"fine_labels": [4, 99], "coarse_labels": [1, 2], "data": rows(2, 3072)}
        (tmp_path / name).write_bytes(python2(content))
    names = [f"fine{i}" for i in range(100)]
    (tmp_path / "meta").write_bytes(python2({"coarse_label_names": [], "fine_label_names": names}))
    data = cifar100(tmp_path)
    assert data.train_labels.tolist() == [4, 99]
    assert data.class_names[99] == "fine99"
    (tmp_path / "test").write_bytes(python2({"fine_labels": [100], "data": rows(1, 3072)}))
    with pytest.raises(ValueError, match="test is damaged: a label is none of cifar100's"):
        cifar100(tmp_path)


def test_imagenet16_keeps_the_first_120_classes(tmp_path):
    batches = [rows(4, 768, seed=i) for i in range(11)]
    names = [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]
    for data, name in zip(batches, names, strict=True):
        content = {"data": data, "labels": [1, 120, 121, 1000], "mean": np.zeros(768)}
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=3))
    data = make_data(f"imagenet16:{tmp_path}")
    assert (data.num_classes, data.flips) == (120, True)
    assert data.train_labels.tolist() == [0, 119] * 10
    kept = np.concatenate([part[:2] for part in batches[:10]])
    assert np.array_equal(data.train_images, kept.reshape(-1, 3, 16, 16))
    assert np.array_equal(data.test_images, batches[10][:2].reshape(-1, 3, 16, 16))
    (tmp_path / "val_data").unlink()
    with pytest.raises(FileNotFoundError, match="no val_data: put the files of ImageNet16"):
        imagenet16(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([1, 2], "holds no dict"),
        ({"data": rows(2, 12)}, "no images or no labels"),
        ({"labels": [1, 2]}, "no images or no labels"),
        ({"data": rows(2, 12), "labels": [1]}, r"of shape \(2, 12\), not bytes of \(1, 12\)"),
        ({"data": rows(2, 11), "labels": [1, 2]}, r"of shape \(2, 11\)"),
        ({"data": rows(2, 12).astype(float), "labels": [1, 2]}, "float64 numbers"),
        ({"data": rows(2, 12), "labels": [1, "2"]}, "some that are no numbers"),
        ({"data": rows(0, 12), "labels": []}, "has no labels"),
        ({"data": rows(2, 12), "labels": torch.tensor([1, 2])}, "no images or no labels"),
        ({"data": torch.nn.Linear, "labels": [1]}, r"it names torch\.nn"),
    ],
)
def test_what_is_no_batch(tmp_path, content, match):
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(ValueError, match=match):
        batch_of(tmp_path / "batch", "labels", (3, 2, 2))


def test_nothing_a_file_names_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Attack:
        def __reduce__(self):
            return os.system, ("touch owned",)

    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Attack(), "labels": [1]}, protocol=3))
    with pytest.raises(ValueError, match=r"cannot read .*batch: it names posix\.system"):
        batch_of(tmp_path / "batch", "labels", (3, 2, 2))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("keep", [0, 1, 50, 500, -1])
def test_a_truncated_batch(tmp_path, keep):
    raw = python2({"labels": [1, 2], "data": rows(2, 12), "text": "x" * 400})
    (tmp_path / "batch").write_bytes(raw[:keep])
    with pytest.raises(ValueError, match=r"cannot read .*batch: it "):
        batch_of(tmp_path / "batch", "labels", (3, 2, 2))


def test_an_array_whose_shape_lies(tmp_path):
    raw = python2({"labels": [1, 2], "data": rows(2, 12)})
    (tmp_path / "batch").write_bytes(raw.replace(b"K\x02K\x0c\x86", b"K\x02K\x0d\x86"))
    with pytest.raises(ValueError, match=r"batch is damaged: an array cannot reshape"):
        batch_of(tmp_path / "batch", "labels", (3, 2, 2))
