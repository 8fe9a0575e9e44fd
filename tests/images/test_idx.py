import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.config.objects import make_data
from netwright.images.idx import idx, read_idx

FASHION = Path("/usr/share/datasets/fashion-mnist")  # where the Debian package puts it


def encoded(values):
    """Write an idx file by the letter of the format."""
    header = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def arrays(train=6, test=3, height=4, width=5):
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(256, size=(train, height, width)),
        "train-labels-idx1-ubyte": np.arange(train) % 3,
        "t10k-images-idx3-ubyte": rng.integers(256, size=(test, height, width)),
        "t10k-labels-idx1-ubyte": np.arange(test) % 3,
    }


def written(folder, parts, *, zipped=False):
    folder.mkdir(exist_ok=True)
    for name, values in parts.items():
        data = encoded(values)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_every_pixel_and_label_is_in_its_place(tmp_path, zipped):
    parts = arrays()
    data = idx(written(tmp_path / "shirts", parts, zipped=zipped))
    assert data.train_images.shape == (6, 1, 4, 5)
    assert np.array_equal(data.train_images[:, 0], parts["train-images-idx3-ubyte"])
    assert np.array_equal(data.test_images[:, 0], parts["t10k-images-idx3-ubyte"])
    assert data.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test_labels.tolist() == [0, 1, 2]
    assert (data.name, data.class_names, data.flips) == ("shirts", ("0", "1", "2"), False)
    assert idx(tmp_path / "shirts", flips=True).flips


def test_a_data_set_is_named_with_its_format(tmp_path):
    written(tmp_path, arrays())
    assert torch.equal(make_data(f"idx:{tmp_path}").train_images, idx(tmp_path).train_images)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        idx(tmp_path / "nowhere")
    written(tmp_path, arrays())
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"no t10k-labels-idx1-ubyte or .*\.gz: put it"):
        idx(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "truncated or damaged: 135 bytes instead of 136"),
        (lambda data: data + b"\0", "truncated or damaged: 137 bytes instead of 136"),
        (lambda data: data[:9], "truncated or damaged"),
        (lambda data: data[:0], "not an idx file of unsigned bytes"),
        (lambda data: b"\x1f\x8b" + data[2:], "not an idx file of unsigned bytes"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "not an idx file of unsigned bytes"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, message):
    written(tmp_path, arrays())
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        idx(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [slice(5), slice(40), slice(None, -4)])
def test_a_truncated_archive_is_refused(tmp_path, cut):
    written(tmp_path, arrays(), zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[cut])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is damaged .*get it anew"):
        idx(tmp_path)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    written(tmp_path, arrays() | {"train-labels-idx1-ubyte": np.arange(5) % 3})
    with pytest.raises(ValueError, match="6 images but 5 labels"):
        idx(tmp_path)
    written(tmp_path, arrays() | {"train-images-idx3-ubyte": np.zeros(20)})
    with pytest.raises(ValueError, match="1 axes instead of 3"):
        idx(tmp_path)
    written(tmp_path, arrays() | {"t10k-images-idx3-ubyte": np.zeros((3, 5, 5))})
    with pytest.raises(ValueError, match=r"differ in size \(4x5 and 5x5\)"):
        idx(tmp_path)
    none = {"train-images-idx3-ubyte": np.zeros((0, 4, 5)), "train-labels-idx1-ubyte": np.zeros(0)}
    written(tmp_path, arrays() | none)
    with pytest.raises(ValueError, match="0 images"):
        idx(tmp_path)


def test_any_number_of_axes_can_be_read(tmp_path):
    values = np.arange(24).reshape(2, 3, 2, 2)
    (tmp_path / "some").write_bytes(encoded(values))
    assert np.array_equal(read_idx(tmp_path / "some"), values)


@pytest.mark.skipif(not FASHION.is_dir(), reason="the package dataset-fashion-mnist is missing")
def test_fashion_mnist_is_as_published():
    data = idx(FASHION)
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.train_labels.bincount().tolist() == [6000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    assert float(data.mean) == pytest.approx(0.2860, abs=1e-4)  # as widely quoted
    assert float(data.std) == pytest.approx(0.3530, abs=1e-4)
