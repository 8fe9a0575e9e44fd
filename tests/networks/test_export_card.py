"""The card that travels with weights: it comes back as it was, and nothing in it is trusted."""

import json

import pytest
import torch
from export_samples import card_of, network_of, rng
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from netwright.networks.export.card import Card, load_weights, read_weights, weights_bytes
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy

SPACE = Toy()
CELL = SPACE.parse(["conv3x3,identity,conv1x1"])

texts = st.text()
numbers = st.floats(allow_nan=False, allow_infinity=False)
cards = st.builds(
    lambda channels, **values: Card(
        channels=len(channels),
        mean=tuple(mean for mean, _ in channels),
        std=tuple(std for _, std in channels),
        **values,
    ),
    st.lists(st.tuples(numbers, st.floats(1e-9, 1e9)), min_size=1, max_size=4),
    space=texts,
    options=st.dictionaries(texts, st.one_of(st.integers(), texts, st.booleans())),
    arch=texts,
    preset=st.sampled_from(["small", "official"]),
    height=st.integers(1, 1000),
    width=st.integers(1, 1000),
    classes=st.lists(texts, min_size=1).map(tuple),
    dataset=st.one_of(st.none(), texts),
    epochs=st.one_of(st.none(), st.integers(1)),
    test_accuracy=st.one_of(st.none(), numbers),
)


@settings(deadline=None)
@given(cards)
def test_cards_come_back(card):
    metadata = card.metadata()
    assert all(type(value) is str for value in metadata.values())
    assert Card.from_metadata(metadata | {"further": "entries"}) == card


def test_weights_and_card_come_back_from_a_file(tmp_path):
    network, card = network_of(SPACE, CELL), card_of(SPACE, CELL, classes=("a\nb", '"', "\x00"))
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_bytes(network.state_dict(), card))
    found, weights = read_weights(path)
    assert found == card
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    twin = network_of(SPACE, CELL, seed=1)
    load_weights(twin, weights)
    images = torch.randn(2, 2, 5, 5, generator=rng())
    assert torch.equal(twin.eval()(images), network.eval()(images))


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("arch", None, "arch: Field required"),
        ("channels", "-1", "channels: "),
        ("channels", "[1]", "channels: "),
        ("channels", "NaN", "channels: "),
        ("height", "{", "height: not JSON"),
        ("height", "[" * 100_000, "height: not JSON"),
        ("classes", "cat", "classes: not JSON"),
        ("classes", "[]", "classes: "),
        ("classes", '{"0": "cat"}', "classes: "),
        ("preset", "huge", "preset: "),
        ("mean", "[0.5]", "mean and std have one number per channel"),
        ("mean", "[NaN, 0]", "mean.0: "),
        ("std", "[0.5, 0]", "std.1: "),
        ("std", "[0.5, Infinity]", "std.1: "),
        ("options", "[]", "options: "),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(tmp_path, entry, value, message):
    metadata = card_of(SPACE, CELL).metadata() | {entry: value}
    metadata = {name: text for name, text in metadata.items() if text is not None}
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"x": torch.zeros(1)}, metadata))
    with pytest.raises(
        ValueError, match="damaged or was not written by `netwright train`"
    ) as error:
        read_weights(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_weights_is_one_clear_error(tmp_path):
    path = tmp_path / "w.safetensors"
    for data in (b"", b"junk" * 10, save({"x": torch.zeros(1)}), bytes([255] * 64)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="damaged or was not written by"):
            read_weights(path)
    whole = weights_bytes(network_of(SPACE, CELL).state_dict(), card_of(SPACE, CELL))
    for size in (4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged or was not written by"):
            read_weights(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_weights(tmp_path / "absent.safetensors")


def test_weights_of_another_network_are_refused():
    network = network_of(SPACE, CELL)
    state = network.state_dict()
    for wrong, message in (
        ({k: v for k, v in state.items() if k != "classifier.bias"}, "bias is absent, not float32"),
        (state | {"extra": torch.zeros(2)}, r"extra is float32 \[2\], not absent"),
        (state | {"classifier.bias": torch.zeros(4)}, r"bias is float32 \[4\], not float32 \[3\]"),
        (state | {"classifier.bias": torch.zeros(3).double()}, "float64"),
    ):
        with pytest.raises(ValueError, match=f"not of this architecture: .*{message}"):
            load_weights(network, wrong)


def test_the_card_is_readable_without_netwright():
    """What stands in the metadata of files: text as it is, numbers and lists as JSON."""
    cell = NASBench101().parse(["input,output:0100"])
    metadata = card_of(NASBench101(), cell, test_accuracy=0.5).metadata()
    assert metadata["arch"] == "input,output:0100"
    assert json.loads(metadata["classes"]) == ["cat", "dog", "eel"]
    assert json.loads(metadata["mean"]) == [0.25, 0.5]
    assert float(metadata["test_accuracy"]) == 0.5
