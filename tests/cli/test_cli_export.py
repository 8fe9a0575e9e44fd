"""`netwright export`, and `netwright train` of a run, as a user types them."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

from netwright.config.objects import make_data
from netwright.networks.export.card import read_weights, weights_bytes
from netwright.runs.run import Run
from netwright.spaces.toy import Toy

CHAIN = "conv3x3,identity,conv1x1"
CELL = "input,conv3x3-bn-relu,output:010001000"
OWN = """
from torch import nn
from netwright.spaces.base import SearchSpace
from netwright.spaces.toy import Toy

with open("loaded", "w"):  # tells that this code was run
    pass


class Own(SearchSpace):
    name = 'own"); import os; os.system("touch owned")#'
    op_names = ('x"]; 9 [label="owned', "a\\nb", "conv")
    layout = Toy.layout
    sample = neighbours = None

    def to_text(self, archs):
        return ["".join(map(str, ops)) for ops in archs.ops.tolist()]

    def from_text(self, texts):
        import torch
        return Toy()._chains(torch.tensor([[int(c) for c in text] for text in texts]))

    def network(self, arch, *, in_channels, num_classes):
        width = 4 + int(arch.ops.sum())
        return nn.Sequential(
            nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, num_classes),
        )
"""


@pytest.fixture
def ok(run):
    """Run a command that must succeed; return its JSON."""

    def call(*args):
        code, out, err = run(*args, "--json")
        assert code == 0, err
        return json.loads(out.splitlines()[-1])

    return call


@pytest.fixture
def searched(ok, tmp_path):
    """A run folder of three evaluated chains."""
    given = ["--space", "toy", "--method", "random", "--set", "evaluator.epochs=1", "--quiet"]
    ok("search", *given, "--dataset", "digits", "--budget", 3, "--run", "r")
    return tmp_path / "r"


def python(file, folder):
    command = [sys.executable, "-I", file]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def logits_of(path, images):
    """The outputs of an exported Python file with its weights."""
    names = {"__name__": "exported", "__file__": str(path)}
    exec(path.read_text(), names)
    with torch.no_grad():
        return names["trained"]()(names["normalise"](images))


def test_a_run_is_trained_and_exported(ok, searched, tmp_path):
    best = Run.open(searched).ledger.best()
    facts = ok("export", "r", "--out", "fresh.py")
    assert (facts["arch"], facts["weights"], facts["files"]) == (best.arch, None, ["fresh.py"])
    trained = ok("train", "r", "--epochs", 3, "--quiet")
    (file,) = (searched / "trained").iterdir()
    assert trained["weights"] == str(file.relative_to(tmp_path))
    assert file.name == f"{best.key}.safetensors"
    card, state = read_weights(file)
    data = make_data("digits")
    assert (card.space, card.arch, card.preset, card.epochs) == ("toy", best.arch, "small", 3)
    assert (card.channels, card.height, card.width) == (1, 8, 8)
    assert (card.dataset, card.classes) == ("digits", data.class_names)
    assert (card.mean, card.std) == (tuple(data.mean.tolist()), tuple(data.std.tolist()))
    facts = ok("export", "r", "--out", "mine.py")
    assert facts["weights"] == trained["weights"]
    assert facts["files"] == ["mine.safetensors", "mine.py"]
    assert facts["parameters"] == trained["parameters"] == card.parameters
    assert python("mine.py", tmp_path).startswith(f"{card.parameters:,} parameters\n")
    right = logits_of(tmp_path / "mine.py", data.test_images).argmax(1) == data.test_labels
    assert right.double().mean() == pytest.approx(trained["test_accuracy"], abs=1e-6)
    facts = ok("export", "r", "--format", "torch")
    program = torch.export.load(tmp_path / "network.pt2")
    with torch.no_grad():
        again = program.module()(data.normalise(data.test_images)).argmax(1) == data.test_labels
    assert torch.equal(again, right)
    assert program.state_dict.keys() == state.keys()


def test_training_a_run_again_needs_force(run, ok, searched):
    ok("train", "r", "--epochs", 1, "--quiet")
    code, _, err = run("train", "r", "--epochs", 1, "--quiet")
    assert code == 1
    assert "exists: give another --out, or --force to replace it" in err
    ok("train", "r", "--epochs", 2, "--force", "--quiet")
    (file,) = (searched / "trained").iterdir()
    assert read_weights(file)[0].epochs == 2


def test_one_architecture_of_a_run(run, ok, searched):
    rows = {row.index: row for row in Run.open(searched).ledger.rows()}
    for number, row in ((1, rows[0]), (3, rows[2])):
        facts = ok("export", "r", "--arch", f"#{number}", "--out", f"{number}.py")
        assert facts["arch"] == row.arch
    assert ok("export", "r", "--arch", CHAIN, "--out", "t.py")["arch"] == CHAIN
    trained = ok("train", "r", "--arch", "#1", "--epochs", 1, "--quiet")
    assert trained["arch"] == rows[0].arch
    assert trained["weights"].endswith(f"{rows[0].key}.safetensors")
    code, _, err = run("export", "r", "--arch", "#4")
    assert code == 2
    assert "r has no evaluation #4: it has #1 to #3" in err


def test_a_file_of_weights_is_enough(ok, tmp_path):
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    facts = ok("export", "w.safetensors", "--out", "n.py")
    assert (facts["arch"], facts["space"], facts["weights"]) == (CHAIN, "toy", "w.safetensors")
    again = ok("export", CHAIN, "--weights", "w.safetensors", "--out", "m.py")
    assert again["files"] == ["m.safetensors", "m.py"]
    assert (tmp_path / "n.py").read_text() == (tmp_path / "m.py").read_text()
    images = make_data("digits").test_images[:5]
    logits = [logits_of(tmp_path / name, images) for name in ("n.py", "m.py")]
    assert torch.equal(*logits)


def test_options_of_a_space_travel_with_the_weights(ok):
    cell = "input,conv1x1-bn-relu," * 1 + "conv1x1-bn-relu," * 7 + "output"
    n = cell.count(",") + 1
    bits = "".join("1" if j == i + 1 else "0" for i in range(n) for j in range(n))
    given = ["--space", "nasbench101", "--set", "space.name=\"nasbench101\"",
             "--set", f"space.max_nodes={n}"]  # fmt: skip
    ok("train", f"{cell}:{bits}", *given, "--epochs", 1, "--out", "w.safetensors", "--quiet")
    assert ok("export", "w.safetensors", "--out", "n.py")["arch"] == f"{cell}:{bits}"


@pytest.mark.slow
def test_an_architecture_is_exported_for_images_as_told(ok, tmp_path):
    told = ["--channels", 1, "--image-size", "9x7", "--classes", 4]
    ok("export", CELL, "--space", "nasbench101", *told)
    assert python("network.py", tmp_path).endswith("images (2, 1, 9, 7) -> logits (2, 4)\n")
    ok("export", CELL, "--space", "nasbench101", "--preset", "official", "--out", "o.py")
    assert python("o.py", tmp_path).endswith("images (2, 3, 32, 32) -> logits (2, 10)\n")
    assert "Cell(512, 512)" in (tmp_path / "o.py").read_text()
    facts = ok("export", CELL, "--space", "nasbench101", "--format", "onnx")
    assert facts["files"] == ["network.onnx"]
    facts = ok("export", CELL, "--space", "nasbench101", "--format", "dot")
    assert facts["files"] == ["network.dot"]
    assert '1 [label="conv3x3-bn-relu"];' in (tmp_path / "network.dot").read_text()


def test_people_are_told_how_to_go_on(run):
    code, out, err = run("export", CHAIN, "--space", "toy", "--out", "my net.py")
    assert code == 0
    assert out.splitlines() == ["wrote my net.py", "go on with", "  python 'my net.py'"]
    assert "its weights are fresh, not trained" in err


def test_a_run_on_a_table_is_exported_with_the_official_skeleton(ok, run, tmp_path):
    chains = Toy().to_text(Toy().enumerate())
    rows = "".join(f'"{chain}",{i / 27}\n' for i, chain in enumerate(chains))
    (tmp_path / "t.csv").write_text(f"arch,good\n{rows}")
    ok("table", "import", "t.csv", "--space", "toy", "--column", "good=mine/valid@1")
    given = ["--table", "t.safetensors", "--metric", "mine/valid@1", "--method", "random"]
    ok("search", "--space", "toy", *given, "--budget", 2, "--run", "t", "--quiet")
    facts = ok("export", "t", "--out", "t.py")
    assert (facts["weights"], facts["preset"]) == (None, "official")
    assert ok("export", CHAIN, "--space", "toy", "--out", "s.py")["preset"] == "small"
    assert "images (2, 3, 32, 32)" in python("t.py", tmp_path)
    code, _, err = run("train", "t")
    assert code == 2
    assert "the run trained on no images: give --dataset" in err
    assert ok("train", "t", "--dataset", "digits", "--epochs", 1, "--quiet")["weights"]


def test_a_run_made_in_python_needs_its_space(run, ok, searched):
    made = Run.create("p")
    (made.folder / "ledger.sqlite").write_bytes((searched / "ledger.sqlite").read_bytes())
    code, _, err = run("export", "p")
    assert code == 2
    assert "'p' is a run made in Python: give its --space" in err
    assert ok("export", "p", "--space", "toy")["space"] == "toy"


# Nothing is overwritten, nothing is left behind.


def test_files_are_replaced_only_by_force(run, ok, tmp_path):
    for to, name in (("python", "network.py"), ("torch", "network.pt2"), ("dot", "network.dot")):
        (tmp_path / name).write_text("precious")
        code, out, err = run("export", CHAIN, "--space", "toy", "--format", to)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {name} exists: give another --out, or --force")
        assert (tmp_path / name).read_text() == "precious"
        ok("export", CHAIN, "--space", "toy", "--format", to, "--force")
        assert (tmp_path / name).read_bytes() != b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "network.dot", "network.pt2", "network.py",
    ]  # fmt: skip


def test_weights_are_never_replaced_by_their_export(run, ok, tmp_path):
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    before = (tmp_path / "w.safetensors").read_bytes()
    for force in ([], ["--force"]):
        code, _, err = run("export", "w.safetensors", "--out", "w.py", *force)
        assert code == 1
        assert "w.safetensors would replace the weights it is made from" in err
        assert (tmp_path / "w.safetensors").read_bytes() == before
        assert not (tmp_path / "w.py").exists()
    ok("export", "w.safetensors", "--out", "new/folder/w.py")
    assert (tmp_path / "new/folder/w.safetensors").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["export", CHAIN], 2, "is no run folder, so an architecture: give its --space"),
        (["export", "runs/absent"], 2, "'runs/absent' is no run folder"),
        (["export", "."], 2, ". is not a run folder"),
        (["export", "absent.safetensors"], 1, "there is no file absent.safetensors"),
        (["export", CHAIN, "--space", "darts"], 2, "unknown space 'darts'"),
        (["export", "junk", "--space", "toy"], 2, "not three operations"),
        (["export", CHAIN, "--space", "toy", "--out", "x.txt"], 2, "name ends in .py, not as"),
        (["export", CHAIN, "--space", "toy", "--preset", "huge"], 2, "preset: Input should be"),
        (["export", CHAIN, "--space", "toy", "--image-size", "8x"], 2, "--image-size is a number"),
        (["export", CHAIN, "--space", "toy", "--image-size", "0"], 2, "height: "),
        (["export", "x" * 5000, "--space", "toy"], 2, "not three operations"),
        (["train", CHAIN], 2, "is no run folder, so an architecture: give its --space"),
    ],
)
def test_errors_are_one_line_with_the_remedy(run, tmp_path, args, code, message):
    got, out, err = run(*args)
    assert got == code, err
    assert err.startswith("error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == [], "a wrong call leaves nothing behind"


def test_weights_of_another_architecture_are_refused(run, ok):
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    other = "conv1x1,identity,conv1x1"
    code, _, err = run("export", other, "--space", "toy", "--weights", "w.safetensors")
    assert code == 2
    assert "w.safetensors has the weights of another architecture" in err
    code, _, err = run("export", "w.safetensors", "--classes", 3)
    assert code == 2
    assert "w.safetensors decides the preset, the images and the classes" in err


def test_missing_onnx_is_one_line_naming_the_pip_command(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run("export", CHAIN, "--space", "toy", "--format", "onnx")
    assert code == 1
    assert err == "error: writing ONNX needs its packages: pip install 'netwright[export]'\n"
    assert list(tmp_path.iterdir()) == []


# A space of one's own, and hostile files.


def test_a_space_of_ones_own(run, ok, tmp_path):
    (tmp_path / "own_space.py").write_text(OWN)
    own = ["--space", "own_space.py:Own"]
    ok("train", "012", *own, "--epochs", 1, "--out", "w.safetensors", "--quiet")
    for to, name in (("torch", "network.pt2"), ("onnx", "network.onnx"), ("dot", "network.dot")):
        facts = ok("export", "w.safetensors", *own, "--format", to)
        assert facts["files"] == [name]
    lines = (tmp_path / "network.dot").read_text().splitlines()
    assert r'  0 [label="x\"]; 9 [label=\"owned"];' in lines
    assert r'  1 [label="a\\nb"];' in lines
    program = torch.export.load(tmp_path / "network.pt2").module()
    assert program(torch.zeros(5, 1, 8, 8)).shape == (5, 10)
    code, _, err = run("export", "012", *own)
    assert code == 2
    assert "only networks of the library's own spaces can be written as Python" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "owned").exists()


def test_a_file_of_weights_does_not_decide_what_code_runs(run, ok, tmp_path):
    (tmp_path / "own_evil.py").write_text(OWN)
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    card, state = read_weights(tmp_path / "w.safetensors")
    evil = card.model_copy(update={"space": "own_evil.py:Own", "arch": "012"})
    (tmp_path / "evil.safetensors").write_bytes(weights_bytes(state, evil))
    for to in ("python", "torch", "dot"):
        code, _, err = run("export", "evil.safetensors", "--format", to)
        assert code == 2
        assert "if you trust its code, name it with --space" in err
        assert not (tmp_path / "loaded").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    ['x"); import os; os.system("touch owned")#', '"""\nimport os\nos.system("touch owned")'],
)
def test_hostile_metadata_stay_text(run, ok, tmp_path, attack):
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    card, state = read_weights(tmp_path / "w.safetensors")
    names = {"classes": (attack, *card.classes[1:]), "dataset": attack}
    evil = weights_bytes(state, card.model_copy(update=names))
    (tmp_path / "evil.safetensors").write_bytes(evil)
    ok("export", "evil.safetensors", "--out", "n.py")
    python("n.py", tmp_path)
    for to in ("torch", "onnx", "dot"):
        ok("export", "evil.safetensors", "--format", to)
    assert not (tmp_path / "owned").exists()
    for entry, value in (
        ("arch", attack),
        ("space", attack),
        ("preset", attack),
        ("options", {attack: 1}),
        ("options", {"self": 1}),
    ):
        changed = card.model_copy(update={entry: value})
        (tmp_path / "evil.safetensors").write_bytes(weights_bytes(state, changed))
        code, _, err = run("export", "evil.safetensors", "--out", "e.py")
        assert code == 2, err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "e.py").exists()


def test_an_option_of_a_space_cannot_be_its_name(ok, tmp_path):
    (tmp_path / "own_name.py").write_text(OWN)
    ok("train", CHAIN, "--space", "toy", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    card, state = read_weights(tmp_path / "w.safetensors")
    evil = card.model_copy(update={"options": {"name": "own_name.py:Own"}})
    (tmp_path / "evil.safetensors").write_bytes(weights_bytes(state, evil))
    assert ok("export", "evil.safetensors")["space"] == "toy"
    assert not (tmp_path / "loaded").exists()


def test_class_folders_with_hostile_names(ok, tmp_path):
    from PIL import Image

    names = ['a"b', "c\nd", "e'; import os #"]
    for i, name in enumerate(names):
        (tmp_path / "images" / name).mkdir(parents=True)
        for j in range(4):
            image = Image.new("L", (6, 6), 40 * i + j)
            image.save(tmp_path / "images" / name / f"{j}.png")
    given = ["--dataset", "folder:images", "--epochs", 1, "--out", "w.safetensors", "--quiet"]
    ok("train", CHAIN, "--space", "toy", *given)
    ok("export", "w.safetensors", "--out", "n.py")
    found = {"__name__": "exported", "__file__": str(tmp_path / "n.py")}
    exec((tmp_path / "n.py").read_text(), found)
    assert found["CLASSES"] == tuple(sorted(names))


@pytest.mark.slow
def test_in_an_environment_with_nothing_but_torch(ok, tmp_path):
    """A new virtual environment; `pip install torch` at the version used here."""
    ok("train", CELL, "--space", "nasbench101", "--epochs", 1, "--out", "w.safetensors", "--quiet")
    ok("export", "w.safetensors", "--out", "n.py")
    ok("export", "w.safetensors", "--format", "torch")
    venv.create(tmp_path / "bare", with_pip=True)
    bare = tmp_path / "bare" / "bin" / "python"
    version = torch.__version__.partition("+")[0]
    constraints = Path(__file__).parents[2] / "constraints.txt"
    pip = [bare, "-m", "pip", "install", "--quiet", "-c", constraints, f"torch=={version}"]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    code = """
import importlib.util, runpy, torch
for name in ("netwright", "numpy", "safetensors"):
    assert importlib.util.find_spec(name) is None, name
made = runpy.run_path("n.py")
images = torch.arange(5 * 64.0).reshape(5, 1, 8, 8).sin()
with torch.no_grad():
    ours = made["trained"]()(images)
    program = torch.export.load("network.pt2").module()(images)
print(float((ours - program).abs().max()))
"""
    done = subprocess.run([bare, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-5
    shown = subprocess.run([bare, "n.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "images (2, 1, 8, 8) -> logits (2, 10)" in shown.stdout
