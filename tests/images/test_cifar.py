import numpy as np
import pytest

from netwright.config.objects import make_data
from netwright.images.cifar import cifar10, cifar100

BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]


def records(n, labels, *, seed=0):
    """Records by the letter of the format: labels, then all red, all green, all blue bytes."""
    images = np.random.default_rng(seed).integers(256, size=(n, 3, 32, 32), dtype=np.uint8)
    rows = [bytes(label) + image.tobytes() for label, image in zip(labels, images, strict=True)]
    return images, b"".join(rows)


def ten(folder, n=4):
    """Write a small CIFAR-10; return its images, file by file."""
    found = []
    for seed, name in enumerate([*BATCHES, "test_batch.bin"]):
        images, data = records(n, [[(seed + i) % 10] for i in range(n)], seed=seed)
        (folder / name).write_bytes(data)
        found.append(images)
    return found


def test_cifar10_is_read_file_by_file(tmp_path):
    images = ten(tmp_path)
    data = cifar10(tmp_path)
    assert np.array_equal(data.train_images, np.concatenate(images[:5]))
    assert np.array_equal(data.test_images, images[5])
    assert data.train_labels.tolist() == [(k + i) % 10 for k in range(5) for i in range(4)]
    assert data.test_labels.tolist() == [5, 6, 7, 8]
    assert (data.name, data.num_classes, data.flips) == ("cifar10", 10, True)
    assert data.class_names[3] == "3"
    (tmp_path / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n\n")
    assert cifar10(tmp_path).class_names[3] == "class3"
    assert make_data(f"cifar10:{tmp_path}").class_names[3] == "class3"


def test_cifar100_takes_the_fine_label(tmp_path):
    train, data = records(6, [[i, 90 + i] for i in range(6)])
    (tmp_path / "train.bin").write_bytes(data)
    (tmp_path / "test.bin").write_bytes(records(2, [[1, 7], [2, 99]])[1])
    found = make_data(f"cifar100:{tmp_path}")
    assert found.train_labels.tolist() == [90, 91, 92, 93, 94, 95]
    assert found.test_labels.tolist() == [7, 99]
    assert np.array_equal(found.train_images, train)
    assert found.num_classes == 100


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*files of cifar100"):
        cifar100(tmp_path / "nowhere")
    ten(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"no data_batch_4\.bin: .*binary version"):
        cifar10(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 3072, 4 * 3073 - 1, 4 * 3073 + 1])
def test_a_truncated_file_is_refused(tmp_path, size):
    ten(tmp_path)
    file = tmp_path / "data_batch_2.bin"
    file.write_bytes((file.read_bytes() + b"\0")[:size])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin is truncated or of another version"):
        cifar10(tmp_path)


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    ten(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(records(3, [[1], [10], [2]])[1])
    with pytest.raises(ValueError, match=r"test_batch\.bin is damaged .* it has the label 10"):
        cifar10(tmp_path)
