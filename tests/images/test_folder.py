import sys

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.images.folder import folder
from netwright.rng import stream


def picture(path, *, mode="RGB", size=(6, 5), seed=0, **options):
    """Write a random image of ``size`` = (width, height) and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], *([3] if mode == "RGB" else []))
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=stream(seed, path.name))
    Image.fromarray(pixels.numpy(), mode if mode == "L" else None).save(path, **options)
    return pixels if mode == "L" else pixels.permute(2, 0, 1)


def many(root, classes=("cat", "dog"), n=5, **options):
    for name in classes:
        for i in range(n):
            picture(root / name / f"{name}{i}.png", seed=i, **options)
    return root


def test_official_split(tmp_path):
    expected = picture(tmp_path / "train" / "dog" / "a.png")
    many(tmp_path / "train", n=2)
    last = picture(tmp_path / "test" / "dog" / "z.png", seed=5)
    data = folder(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(data.train_images[2], expected)  # a.png comes first of the dogs
    assert data.test_labels.tolist() == [1]
    assert torch.equal(data.test_images[0], last)
    assert (data.name, data.channels, data.flips) == (tmp_path.name, 3, False)
    assert folder(tmp_path, flips=True).flips


@pytest.mark.parametrize("nested", ["", "train"])
def test_a_fifth_is_put_aside_where_there_is_no_test_part(tmp_path, nested):
    many(tmp_path / nested, n=10)
    a, b = folder(tmp_path), folder(tmp_path)
    assert a.train_labels.bincount().tolist() == [8, 8]
    assert a.test_labels.bincount().tolist() == [2, 2]
    assert torch.equal(a.test_images, b.test_images)
    together = {tuple(x) for x in torch.cat([a.train_images, a.test_images]).flatten(1).tolist()}
    assert len(together) == 20


def test_a_class_may_be_called_train(tmp_path):
    data = folder(many(tmp_path, classes=("bus", "train")))
    assert data.class_names == ("bus", "train")


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path):
    many(tmp_path / "grey", mode="L")
    assert folder(tmp_path / "grey").channels == 1
    many(tmp_path / "mixed", mode="L")
    picture(tmp_path / "mixed" / "cat" / "colour.png")
    data = folder(tmp_path / "mixed")
    assert data.channels == 3
    grey = (data.train_images[:, 0] == data.train_images[:, 2]).flatten(1).all(dim=1)
    assert grey.sum() >= len(grey) - 1


def test_other_modes(tmp_path):
    many(tmp_path, mode="L")
    red = Image.new("RGBA", (6, 5), (255, 0, 0, 10))
    red.save(tmp_path / "cat" / "a_transparent.png")
    red.convert("RGB").convert("P").save(tmp_path / "cat" / "a_palette.gif")
    Image.new("1", (6, 5), 1).save(tmp_path / "cat" / "a_bits.png")
    keyed = Image.new("P", (6, 5), 3)
    keyed.putpalette(list(range(256)) * 3)
    keyed.save(tmp_path / "cat" / "a_keyed.png", transparency=bytes([0, 128, 255]))
    data = folder(tmp_path)
    images = torch.cat([data.train_images, data.test_images])
    assert images.shape == (14, 3, 5, 6)
    pure = (images == torch.tensor([255, 0, 0])[:, None, None]).flatten(1).all(dim=1)
    assert pure.sum() == 2
    assert (images == 255).flatten(1).all(dim=1).sum() == 1


def test_sizes(tmp_path):
    many(tmp_path)
    picture(tmp_path / "dog" / "big.png", size=(60, 50))
    assert folder(tmp_path).train_images.shape[2:] == (5, 6)
    assert folder(tmp_path, size=4).train_images.shape[2:] == (4, 4)
    assert folder(tmp_path, size=(3, 7)).train_images.shape[2:] == (3, 7)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        folder(tmp_path, size=0)


def test_shrinking_averages(tmp_path):
    many(tmp_path, size=(2, 2))
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).convert("RGB").save(tmp_path / "cat" / "a_board.png")
    data = folder(tmp_path, size=8)
    images = torch.cat([data.train_images, data.test_images]).float()
    assert ((images - 127.5).abs() < 2).flatten(1).all(dim=1).any()


def test_photographs_are_turned_upright(tmp_path):
    many(tmp_path, size=(4, 8), mode="L")
    lying = np.zeros((4, 8), np.uint8)
    lying[:, :4] = 255  # the left half; turned by orientation 6 it is the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(lying).save(tmp_path / "cat" / "a.png", exif=exif)
    data = folder(tmp_path)
    images = torch.cat([data.train_images, data.test_images])
    upright = torch.zeros(1, 8, 4, dtype=torch.uint8)
    upright[:, :4] = 255
    assert (images == upright).flatten(1).all(dim=1).sum() == 1


def test_other_files_are_skipped(tmp_path):
    many(tmp_path)
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "cat" / ".hidden.png").write_text("hello")
    (tmp_path / ".git").mkdir()
    (tmp_path / "cat" / "cat0.png").rename(tmp_path / "cat" / "cat0.PNG")
    assert len(folder(tmp_path).train_labels) == 8


def test_a_damaged_image_is_named(tmp_path):
    many(tmp_path)
    path = tmp_path / "dog" / "dog3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"dog3\.png .*repair or remove"):
        folder(tmp_path)
    path.write_text("not an image")
    with pytest.raises(ValueError, match=r"dog3\.png .*repair or remove") as caught:
        folder(tmp_path)
    assert "\n" not in str(caught.value)
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(path)
    with pytest.raises(ValueError, match=r"dog3\.png .*more than 8 bits"):
        folder(tmp_path)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has 0 class folders"):
        folder(tmp_path)
    many(tmp_path, classes=("cat",))
    with pytest.raises(ValueError, match="has 1 class folder,"):
        folder(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match=r"dog has 0 images.*needs 3"):
        folder(tmp_path)
    picture(tmp_path / "dog" / "dog.png")
    with pytest.raises(ValueError, match="dog has 1 image,"):
        folder(tmp_path)


def test_a_class_that_only_the_test_part_has_is_named(tmp_path):
    many(tmp_path / "train")
    many(tmp_path / "test", classes=("cat", "emu"))
    with pytest.raises(ValueError, match="emu is a class without"):
        folder(tmp_path)


def test_missing_pillow_is_named(tmp_path, monkeypatch):
    many(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'netwright\[data\]'"):
        folder(tmp_path)
