"""`torch.export` and ONNX: same outputs for batches of any size, without Netwright."""

import io
import json
import sys

import onnx
import onnxruntime
import pytest
import torch
from export_samples import (
    CELLS201,
    CUT,
    card_of,
    network_of,
    only_torch,
    rng,
)
from torch import nn

from netwright.networks.export.card import Card
from netwright.networks.export.programs import CARD, onnx_program, torch_program
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

CELLS = [
    (NASBench101(), CUT),
    (NASBench101(), "input,output:0100"),
    *((NASBench201(), text) for text in (CELLS201[0], CELLS201[1], CELLS201[3], CELLS201[4])),
    (Toy(), "conv3x3,identity,conv1x1"),
]
ATTACK = '"""\nimport os\nos.system("touch owned")\n"""'


@pytest.fixture(params=range(len(CELLS)), ids=lambda i: f"{CELLS[i][0].name}-{i}")
def case(request):
    """A network with random weights, and its card, whose names are hostile."""
    space, text = CELLS[request.param]
    arch = space.parse([text])
    card = card_of(space, arch, classes=("cat", ATTACK, "eel"), dataset=ATTACK)
    return network_of(space, arch).eval(), card


def batches():
    return [torch.randn(n, 2, 7, 5, generator=rng(n)) for n in (1, 2, 5)]


def test_exported_programs_compute_the_same(case):
    network, card = case
    extra_files = {CARD: ""}
    program = torch.export.load(io.BytesIO(torch_program(network, card)), extra_files=extra_files)
    assert Card(**json.loads(extra_files[CARD])) == card
    module = program.module()
    with torch.no_grad():
        for images in batches():
            torch.testing.assert_close(module(images), network(images), atol=1e-6, rtol=1e-6)
    state = network.state_dict()
    assert {k: v.shape for k, v in program.state_dict.items()} == {
        k: v.shape for k, v in state.items()
    }


def test_onnx_computes_the_same(case):
    network, card = case
    data = onnx_program(network, card)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(data)
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("images", ["batch", 2, 7, 5])
    assert (result.name, result.shape) == ("logits", ["batch", 3])
    with torch.no_grad():
        for images in batches():
            found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
            torch.testing.assert_close(found, network(images), atol=1e-4, rtol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert Card.from_metadata(metadata) == card


@pytest.mark.slow
def test_a_program_needs_nothing_but_torch(tmp_path):
    space = NASBench101()
    arch = space.parse([CUT])
    network, card = network_of(space, arch).eval(), card_of(space, arch)
    (tmp_path / "n.pt2").write_bytes(torch_program(network, card))
    images = batches()[2]
    with torch.no_grad():
        torch.save((images, network(images), network.state_dict()), tmp_path / "expected.pt")
    found = only_torch(
        """
        import torch
        images, logits, state = torch.load("expected.pt")
        program = torch.export.load("n.pt2")
        assert all(torch.equal(program.state_dict[name], value) for name, value in state.items())
        with torch.no_grad():
            print(float((program.module()(images) - logits).abs().max()))
        """,
        tmp_path,
    )
    assert float(found) <= 1e-6


def test_exporting_leaves_the_network_and_the_randomness_alone(case):
    network, card = case
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before = torch.get_rng_state()
    torch_program(network, card)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_network_that_branches_on_values_is_one_clear_error():
    class Branching(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    card = card_of(Toy(), Toy().sample(1, rng=rng()))
    with pytest.raises(ValueError, match="cannot be traced") as error:
        torch_program(Branching(), card)
    assert "\n" not in str(error.value)
    assert "not branch on values" in str(error.value)


def test_a_network_for_one_image_only_is_one_clear_error():
    class Single(nn.Module):
        def forward(self, images):
            return images.reshape(2, -1)[:, :3]

    card = card_of(Toy(), Toy().sample(1, rng=rng()))
    with pytest.raises(ValueError, match="cannot be traced"):
        torch_program(Single(), card)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_missing_packages_are_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    space = Toy()
    arch = space.sample(1, rng=rng())
    with pytest.raises(ImportError, match=r"pip install 'netwright\[export\]'"):
        onnx_program(network_of(space, arch), card_of(space, arch))
