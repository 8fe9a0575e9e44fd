"""A run whose evaluator learns: resumed anywhere, it ends as one never interrupted."""

from contextlib import closing
from functools import partial

import pytest
import torch

from netwright.evaluators.supernet import SupernetEvaluator, SupernetRecipe
from netwright.generators.rnn import Recurrent
from netwright.images.digits import digits
from netwright.images.reduce import reduced
from netwright.networks.enas_supernet import ENASSupernet
from netwright.progress import Step
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.local import LocalSearch
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.random import RandomSearch
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.spaces.enas import ENAS

SPACE = ENAS(3)


def pieces(method, space=SPACE, epochs_per_step=1):
    rng = stream(0, "policy")
    if method == "random":
        searcher = RandomSearch(space)
    else:
        options = ReinforceOptions(capacity=5, update_every=3, fit=FitOptions(epochs=2))
        searcher = Reinforce(space, partial(Recurrent, hidden=8), options=options, rng=rng)
    recipe = SupernetRecipe(
        epochs=99, epochs_per_step=epochs_per_step, batch_size=20, crop_padding=0
    )
    data = reduced(digits(), train=40, test=20, rng=stream(0, "images"))
    make = partial(ENASSupernet, space.layout.max_nodes - 2, channels=2)
    return searcher, SupernetEvaluator(make, data, recipe, train_fraction=0.5)


def execute(folder, method, *, stop=None, **options):
    run = Run.open(folder) if (folder / "config.toml").exists() else Run.create(folder)
    searcher, evaluator = pieces(method)
    fields = {"budget": 8, "batch_size": 3, "seed": 0, "checkpoint_every": 0.0} | options
    events = run.execute(SPACE, searcher, evaluator, **fields)
    with closing(events):
        for number, _ in enumerate(events, start=1):
            if number == stop:
                break
    rows = [(r.index, r.arch, r.origin, r.score, r.extras, r.step) for r in run.ledger.rows()]
    return rows, evaluator.state_dict()


@pytest.mark.parametrize("method", ["random", "rnn"])
def test_resumed_after_every_event(tmp_path, method):
    whole, state = execute(tmp_path / "whole", method)
    assert [row[0] for row in whole] == list(range(8))
    for stop in (1, 4, 6, 9):
        for every in (0.0, 1e9):
            folder = tmp_path / f"{stop}-{every}"
            execute(folder, method, stop=stop, checkpoint_every=every)
            rows, after = execute(folder, method, checkpoint_every=every)
            assert rows == whole
            for name, value in state["weights"].items():
                assert torch.equal(after["weights"][name], value)


@pytest.mark.parametrize("method", ["random", "rnn"])
def test_architectures_are_scored_again(tmp_path, method):
    """There are six of a single layer, and the budget counts scorings."""
    space = ENAS(1)
    searcher, evaluator = pieces(method, space, epochs_per_step=10)
    run = Run.create(tmp_path / "run")
    options = {"budget": 20, "batch_size": 10, "seed": 0}
    told = [
        e.evaluations
        for e in run.execute(space, searcher, evaluator, **options)
        if isinstance(e, Step)
    ]
    rows = run.ledger.rows()
    assert told == [10, 20]
    assert len({row.arch for row in rows}) <= 6
    assert [row.index for row in rows] == list(range(20))
    assert {row.status for row in rows} == {"evaluated"}
    scores = {}
    for row in rows:
        scores.setdefault((row.arch, row.step), set()).add(row.score)
    assert all(len(found) == 1 for found in scores.values())  # within a step they stay
    again = {arch for arch, step in scores if step == 0} & {arch for arch, step in scores if step}
    assert any(scores[arch, 0] != scores[arch, 1] for arch in again)


def test_only_batches_in_this_process(tmp_path):
    for options in (
        {"workers": 2},
        {"mode": "asynchronous"},
        {"design": SPACE.sample(2, rng=stream(0, "d"))},
    ):
        with pytest.raises(ValueError, match="use 1 worker, the mode batch and no design"):
            execute(tmp_path / str(len(options)), "random", **options)


def test_a_searcher_that_never_repeats_itself_is_refused(tmp_path):
    _, evaluator = pieces("random")
    events = Run.create(tmp_path / "run").execute(
        SPACE, LocalSearch(SPACE), evaluator, budget=4, batch_size=2, seed=0
    )
    with pytest.raises(ValueError, match="LocalSearch proposes each architecture once"):
        next(events)


def test_more_budget_goes_on_where_it_was(tmp_path):
    whole, _ = execute(tmp_path / "whole", "rnn", budget=6)
    execute(tmp_path / "run", "rnn", budget=3)
    rows, _ = execute(tmp_path / "run", "rnn", budget=6)
    assert rows == whole
