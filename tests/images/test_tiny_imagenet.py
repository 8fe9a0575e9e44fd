import pytest
import torch
from PIL import Image

from netwright.config.objects import make_data
from netwright.images.tiny_imagenet import tiny_imagenet
from netwright.rng import stream

CLASSES = ["n03", "n01", "n02"]


def picture(path, *, grey=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    level = int(torch.randint(256, (), generator=stream(0, path.name)))
    Image.new("L" if grey else "RGB", (64, 64), level if grey else (level, 0, 0)).save(path)
    return level


@pytest.fixture
def root(tmp_path):
    (tmp_path / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    (tmp_path / "words.txt").write_text("n01\tcat, true cat\nn03\tdog\nn09\towl\n")
    for name in CLASSES:
        for i in range(2):
            picture(tmp_path / "train" / name / "images" / f"{name}_{i}.JPEG", grey=i == 1)
    lines = []
    for i, name in enumerate(["n02", "n03", "n02"]):
        picture(tmp_path / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{name}\t0\t0\t63\t63\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


def test_it_is_read(root):
    data = make_data(f"tiny-imagenet:{root}")
    assert data.class_names == ("dog", "cat", "n02")  # in the order of wnids.txt
    assert data.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test_labels.tolist() == [2, 0, 2]
    assert tuple(data.train_images.shape) == (6, 3, 64, 64)
    assert (data.name, data.flips) == ("tiny-imagenet", True)
    level = int(torch.randint(256, (), generator=stream(0, "n01_1.JPEG")))
    assert (data.train_images[3].int() - level).abs().max() <= 3  # grey in all three channels
    red = int(torch.randint(256, (), generator=stream(0, "val_1.JPEG")))
    assert (data.test_images[1, 0].int() - red).abs().max() <= 3


def test_what_is_missing_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"no wnids\.txt: give the folder of Tiny-ImageNet"):
        tiny_imagenet(root / "val")
    file = root / "val" / "val_annotations.txt"
    whole = file.read_text()
    file.write_text(whole + "val_9.JPEG\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt, line 4: no file and class"):
        tiny_imagenet(root)
    file.write_text(whole + "../../wnids.txt\tn01\n")
    with pytest.raises(ValueError, match=r"cannot read the image .*val/images/wnids\.txt"):
        tiny_imagenet(root)
    file.write_text(whole)
    for image in (root / "train" / "n01" / "images").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match="no images in train/n01/images"):
        tiny_imagenet(root)
