"""The Python file: it needs torch only, computes what the network does, and names stay names."""

import ast
import json
import subprocess
import sys

import pytest
import torch
from export_samples import (
    BUILDERS,
    CELLS201,
    CUT,
    NONE,
    card_of,
    network_of,
    only_torch,
    rng,
    samples,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.networks.cost import count_parameters
from netwright.networks.export.code import network_code
from netwright.networks.export.python import literal, python_file
from netwright.networks.skeleton import Skeleton
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

HOSTILE = [
    'x"); import os; os.system("touch owned")#',
    "'''\nimport os\nos.system('touch owned')\n'''",
    '"""\nimport os\nos.system("touch owned")\n"""',
    "\\",
    '\\"',
    "a\nimport os",
    "\r\x00\u2028\u202e\ud800",
    "{__import__('os').system('touch owned')}",
    "%s${x}\\N{BULLET}",
]


def made(source):
    """The network that a file defines, in this process."""
    names = {"__name__": "exported", "__file__": "/nowhere/exported.py"}
    exec(compile(source, "exported.py", "exec"), names)
    return names


def outputs(network, images):
    """Logits in training mode, then, with the statistics that it left, in evaluation mode."""
    with torch.no_grad():
        return [network.train()(images), network.eval()(images)]


def test_files_compute_what_the_networks_compute_where_there_is_only_torch(tmp_path):
    images, expected = torch.randn(4, 2, 7, 5, generator=rng(9)), []
    for i, (space, arch) in enumerate(samples()):
        network = network_of(space, arch, seed=i)
        text, weights = python_file(space, arch, card_of(space, arch), network.state_dict())
        (tmp_path / f"n{i}.py").write_text(text, encoding="utf-8")
        (tmp_path / f"n{i}.safetensors").write_bytes(weights)
        with torch.no_grad():
            before = network.eval()(images)
        expected.append([before, *outputs(network, images)])
    torch.save((images, expected), tmp_path / "expected.pt")
    found = only_torch(
        """
        import importlib.util, json, torch
        images, expected = torch.load("expected.pt")
        differences = []
        for i, logits in enumerate(expected):
            spec = importlib.util.spec_from_file_location(f"n{i}", f"n{i}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            network = module.trained()
            assert not network.training
            with torch.no_grad():
                found = [network(images), network.train()(images), network.eval()(images)]
            differences.append([float((a - b).abs().max()) for a, b in zip(found, logits)])
        print(json.dumps(differences))
        """,
        tmp_path,
    )
    differences = json.loads(found)
    assert len(differences) == len(samples()) > 30
    assert {int(a.num_nodes) for s, a in samples() if s.name == "nasbench101"} == set(range(2, 8))
    assert max(map(max, differences)) <= 1e-6, differences


def test_files_are_formatted_and_documented(tmp_path):
    for i, (space, arch) in enumerate(samples()):
        weights = network_of(space, arch).state_dict() if i % 2 else None
        about = {"mean": (), "std": ()} if i % 3 else {}
        preset = "official" if i % 5 else "small"
        card = card_of(space, arch, **about, preset=preset)
        if weights is not None and preset == "official":
            weights = network_of(space, arch, preset=preset).state_dict()
        text, _ = python_file(space, arch, card, weights)
        (tmp_path / f"n{i}.py").write_text(text)
    for arguments in (
        ["format", "--check", "--diff"],
        ["check", "--select=E,F,W,I,UP,B,D1,T10,RUF,SIM", "--ignore=D107,E501"],
    ):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", tmp_path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("stem", [7, 15, 16])
def test_channels_that_do_not_divide_evenly(stem):
    """Wider nodes are cut as by the library, whatever the number of channels."""
    skeleton = Skeleton(stem_channels=stem, stacks=2, cells=2, bn_momentum=0.25, bn_eps=1e-3)
    space, images = NASBench101(), torch.randn(3, 2, 6, 6, generator=rng())
    cells = [space.parse([CUT]), *(a for s, a in samples() if s.name == space.name)]
    cut = 0
    for i, arch in enumerate(cells):
        network = network_of(space, arch, seed=i, preset=skeleton)
        code = network_code(space, arch, in_channels=2, num_classes=3, preset=skeleton)
        cut += "[:, : self.split[" in code.source
        twin = made("import torch\nfrom torch import Tensor, nn\n" + code.source)["Network"]()
        state = network.state_dict()
        twin.load_state_dict({code.names[name]: value for name, value in state.items()})
        for a, b in zip(outputs(network, images), outputs(twin, images), strict=True):
            assert torch.equal(a, b), space.to_text(arch)
        after = twin.state_dict()
        assert all(torch.equal(v, after[code.names[k]]) for k, v in network.state_dict().items())
        assert code.parameters == count_parameters(network) == count_parameters(twin)
    assert cut, "some cell cuts channels off"


@pytest.mark.parametrize("space", [NASBench101(), NASBench201(), Toy()], ids=lambda s: s.name)
def test_official_networks_have_the_same_weights(space):
    for i in range(3):
        arch = space.sample(1, rng=rng(i))
        code = network_code(space, arch, in_channels=3, num_classes=10, preset="official")
        with torch.device("meta"):
            twin = made("import torch\nfrom torch import Tensor, nn\n" + code.source)["Network"]()
            network = BUILDERS[type(space)](arch, in_channels=3, num_classes=10)
        shapes = {code.names[name]: value.shape for name, value in network.state_dict().items()}
        assert shapes == {name: value.shape for name, value in twin.state_dict().items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([NASBench101(), NASBench201()]))
def test_any_cell_computes_the_same(seed, space):
    arch = space.sample(1, rng=rng(seed))
    text, _ = python_file(space, arch, card_of(space, arch), None)
    code = network_code(space, arch, in_channels=2, num_classes=3, preset="small")
    network, twin = network_of(space, arch, seed=seed), made(text)["Network"]()
    state = network.state_dict()
    twin.load_state_dict({code.names[name]: value for name, value in state.items()})
    images = torch.randn(2, 2, 5, 5, generator=rng(seed))
    for a, b in zip(outputs(network, images), outputs(twin, images), strict=True):
        assert torch.equal(a, b), space.to_text(arch)


def test_fresh_networks_start_like_the_librarys():
    """Convolutions of variance 1 / fan-in cut off at two spreads, a classifier after Glorot."""
    space = NASBench101()
    arch = space.parse([CUT])
    text, _ = python_file(space, arch, card_of(space, arch, preset="official"), None)
    torch.manual_seed(0)
    network = made(text)["Network"]()
    weight = network.body[-1].conv3x3_1[0].weight.detach()
    expected = (weight.shape[1] * 9) ** -0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.02)
    assert 2 * expected < weight.abs().max() <= 2 * expected / 0.8796
    assert network.classifier.bias.eq(0).all()
    bound = (6 / (512 + 3)) ** 0.5
    assert 0.98 * bound < network.classifier.weight.abs().max() <= bound


def test_each_operation_has_an_attribute_and_each_node_a_line():
    space = NASBench101()
    arch = space.parse([CUT])
    text, _ = python_file(space, arch, card_of(space, arch), None)
    cell = text[text.index("class Cell") : text.index("class Network")]
    init, forward = (
        [line.strip() for line in part.splitlines()] for part in cell.split("def forward")
    )
    assert [line for line in init if line.startswith("self.")] == [
        "self.project_1 = ConvBnRelu(in_channels, split[0], 1)",
        "self.conv3x3_1 = ConvBnRelu(split[0], split[0], 3)",
        "self.conv1x1_2 = ConvBnRelu(split[1], split[1], 1)",
        "self.project_3 = ConvBnRelu(in_channels, split[2], 1)",
        "self.maxpool_3 = nn.MaxPool2d(3, stride=1, padding=1)",
        "self.project_output = ConvBnRelu(in_channels, channels, 1)",
    ]
    assert [line for line in forward if line.startswith(("node", "joined", "return"))] == [
        "node1 = self.conv3x3_1(self.project_1(x))",
        "node2 = self.conv1x1_2(node1[:, : self.split[1]])",
        "node3 = self.maxpool_3(node2[:, : self.split[2]] + self.project_3(x))",
        "joined = torch.cat([node1, node2, node3], dim=1)",
        "return joined + self.project_output(x)",
    ]


def test_cells_without_operations_are_short():
    space = NASBench201()
    text, _ = python_file(space, space.parse([NONE]), card_of(space, space.parse([NONE])), None)
    assert "        return torch.zeros_like(x)\n" in text
    dead = space.parse([CELLS201[-1]])
    text, _ = python_file(space, dead, card_of(space, dead), None)
    assert text.count("# not used") == 2
    assert "        return self.conv1x1_03(x)\n" in text


@pytest.mark.slow
def test_a_file_says_its_size_when_run(tmp_path):
    space = Toy()
    arch = space.parse(["conv3x3,identity,conv1x1"])
    network = network_of(space, arch)
    for weights in (None, network.state_dict()):
        text, data = python_file(space, arch, card_of(space, arch), weights)
        (tmp_path / "mine.py").write_text(text)
        if data is not None:
            (tmp_path / "mine.safetensors").write_bytes(data)
        run = "import runpy; runpy.run_path('mine.py', run_name='__main__')"
        shown = only_torch(run, tmp_path).splitlines()
        assert shown == [
            f"{count_parameters(network):,} parameters",
            "images (2, 2, 7, 5) -> logits (2, 3)",
        ]


def test_images_are_normalised_as_in_training():
    from netwright.images.digits import digits

    data, space = digits(), Toy()
    arch = space.parse(["conv3x3,identity,conv1x1"])
    about = {"mean": data.mean.tolist(), "std": data.std.tolist(), "channels": 1}
    text, _ = python_file(space, arch, card_of(space, arch, **about), None)
    images = data.test_images[:8]
    assert torch.equal(made(text)["normalise"](images), data.normalise(images))


# Names cannot become code.


def without_names(text):
    """The syntax tree of a file, but for the value of CLASSES."""
    tree = ast.parse(text)
    kept = [
        n for n in tree.body if not (isinstance(n, ast.Assign) and n.targets[0].id == "CLASSES")
    ]
    return ast.dump(ast.Module(kept, []))


def classes_in(text):
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "CLASSES":
            return ast.literal_eval(node.value)
    raise AssertionError("no CLASSES")


def exported(classes, dataset, **changes):
    space = Toy()
    cell = space.parse(["conv3x3,identity,conv1x1"])
    card = card_of(space, cell, classes=classes, dataset=dataset, **changes)
    return python_file(space, cell, card, None)[0]


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.text(), st.text(), st.text()), st.text(), st.text())
def test_names_change_nothing_but_a_literal(classes, dataset, name):
    text = exported(classes, dataset)
    text.encode()
    assert classes_in(text) == classes
    assert without_names(text) == without_names(exported(("a", "b", "c"), "plain"))
    assert text == exported(classes, dataset, arch=name), "the file names the cell it was given"


@pytest.mark.parametrize("attack", HOSTILE)
def test_planted_attacks_stay_text(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = exported((attack, "b", attack), attack, arch=attack, space=attack)
    assert made(text)["CLASSES"] == (attack, "b", attack)
    assert list(tmp_path.iterdir()) == []


@given(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_literals_read_as_their_values(value):
    text = literal(value)
    assert ast.literal_eval(text) == value
    assert "\n" not in text


def test_files_import_torch_and_the_standard_library_only():
    for space, arch in samples():
        text, _ = python_file(
            space, arch, card_of(space, arch), network_of(space, arch).state_dict()
        )
        names = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        assert names <= {"torch", "json", "pathlib"}


def test_a_space_of_ones_own_is_one_clear_error():
    class Mine(Toy.__mro__[1]):
        name = "nasbench101"  # whatever it calls itself
        op_names, layout = Toy.op_names, Toy.layout
        sample = neighbours = to_text = from_text = None

    arch = Toy().sample(1, rng=rng())
    with pytest.raises(ValueError, match="use the format torch or onnx") as error:
        network_code(Mine(), arch, in_channels=1, num_classes=2, preset="small")
    assert "\n" not in str(error.value)


def test_what_cannot_be_built_is_not_written():
    many = "input," + "conv1x1-bn-relu," * 3 + "output:" + "01110" + "00001" * 3 + "00000"
    space = NASBench101()
    with pytest.raises(ValueError, match="channels cannot be divided"):
        network_code(
            space, space.parse([many]), in_channels=1, num_classes=2, preset=Skeleton(2, 1, 1)
        )
