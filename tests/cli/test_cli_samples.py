"""What the commands draw from a run's generator for its report."""

import json

import pytest
import torch

from netwright.cli.pages import stored_config
from netwright.cli.samples import DRAWS, draw_samples
from netwright.config.objects import make_space
from netwright.config.searchers import make_searcher
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.graphs import hashing
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.runs.samples import Samples
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy

SMALL = ["--set", "method.hidden=8", "--set", "method.rounds=1", "--set", "method.epochs=1"]


@pytest.fixture
def run(run, tmp_path):
    """Run a command in a folder with a table of the toy space."""
    texts = Toy().to_text(Toy().enumerate())
    lines = [f'"{text}",{text.count("conv3x3") / 3:.4f}' for text in texts]
    (tmp_path / "toy.csv").write_text("arch,good\n" + "\n".join(lines))
    code, _, err = run(
        "table", "import", "toy.csv", "--space", "toy", "--column", "good=mine/valid@1", "--json"
    )
    assert code == 0, err
    return run


def search(run, folder, *more):
    given = ["--space", "toy", "--table", "toy.safetensors", "--metric", "mine/valid@1"]
    return run("search", *given, "--budget", 12, "--run", folder, "--quiet", *more)


def test_a_search_ends_with_samples_of_its_generator(run, tmp_path):
    code, _, err = search(run, "r", *SMALL)
    assert (code, err) == (0, "")
    samples = Samples.read(tmp_path / "r")
    assert len(samples.draws) == DRAWS
    assert samples.last_row == Run.open("r").ledger.last_id()
    config = stored_config(Run.open("r"))
    space = make_space(config.space)
    searcher = make_searcher(config.method, space, rng=stream(0, "other"))
    Run.open("r").restore(searcher)
    drawn = searcher.policy.sample(DRAWS, rng=stream(config.seed, "samples"))
    with torch.no_grad():
        expected = searcher.policy.log_prob(drawn)
    assert [d.arch for d in samples.draws] == space.to_text(drawn)
    told = torch.tensor([d.log_prob for d in samples.draws])
    torch.testing.assert_close(told, expected, rtol=1e-4, atol=1e-4)
    page = (tmp_path / "r/report.html").read_text()
    assert "Samples at the end" in page
    assert "How one sample came to be" in page


def test_samples_are_drawn_again_when_the_search_has_gone_on(run, tmp_path):
    assert search(run, "r", *SMALL)[0] == 0
    file = tmp_path / "r/samples.json"
    first = file.read_text()
    file.write_text(first.replace('"density":', '"density": '))  # as a mark
    assert run("report", "r")[0] == 0
    assert '"density": ' in file.read_text(), "nothing is redone"
    code, _, err = run("resume", "r", "--budget", 20, "--quiet")
    assert code == 0, err
    assert Samples.read(tmp_path / "r").last_row > json.loads(first)["last_row"]
    file.unlink()
    assert run("report", "r")[0] == 0
    assert file.exists()


def test_damaged_samples_are_one_line(run, tmp_path):
    assert search(run, "r", *SMALL)[0] == 0
    (tmp_path / "r/samples.json").write_text("{")
    code, out, err = run("report", "r")
    assert code == 2
    assert err.startswith("error: r/samples.json is damaged")
    assert "delete it" in err
    assert (len(err.strip().splitlines()), out) == (1, "")


def test_what_cannot_be_drawn_leaves_the_report_whole(run, tmp_path):
    assert search(run, "r", *SMALL)[0] == 0
    (tmp_path / "r/samples.json").unlink()
    (tmp_path / "r/checkpoint/state.safetensors").write_bytes(b"x")
    code, out, err = run("report", "r")
    assert code == 0
    assert "no samples of the generator of r: " in err
    assert "wrote" in out
    assert "How one sample came to be" not in (tmp_path / "r/report.html").read_text()


def test_a_method_without_a_generator_has_no_samples(run, tmp_path):
    assert search(run, "r", "--method", "random")[0] == 0
    assert not (tmp_path / "r/samples.json").exists()
    assert "Samples at the end" not in (tmp_path / "r/report.html").read_text()


def test_draws_are_what_the_generator_draws():
    space = NASBench101()
    generator = GraphPNAS(space.layout, hidden=8, rounds=1, mixtures=2, rng=stream(0, "generator"))
    samples = draw_samples(generator, space, n=70, rng=stream(1, "draws"))
    drawn = generator.sample(70, rng=stream(1, "draws"))
    archs = space.simplify(drawn)
    valid = space.is_valid(archs).tolist()
    assert [draw.arch is not None for draw in samples.draws] == valid
    assert 0 < sum(valid) < 70
    keys = hashing.to_hex(space.keys(archs))
    for i, draw in enumerate(samples.draws):
        if draw.arch is not None:
            assert draw.key == keys[i]
            n = int(archs.num_nodes[i])
            assert draw.density == pytest.approx(int(archs.num_edges[i]) / (n * (n - 1) / 2))
    shown = valid.index(True)
    assert samples.trace.log_prob == samples.draws[shown].log_prob
    assert [step.op for step in samples.trace.steps] == drawn.ops[
        shown, : int(drawn.num_nodes[shown])
    ].tolist()


def test_a_generator_without_likelihood_or_steps():
    space = NASBench101()
    samples = draw_samples(RandomGraph(space.layout), space, n=20, rng=stream(0, "draws"))
    assert samples.trace is None
    assert samples.entropy is None
