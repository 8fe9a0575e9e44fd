"""Measuring given architectures: in order, with every seed, and on from wherever it stopped."""

import threading

import pytest
import torch
from sensitive import ALL, SPACE, Noisy

from netwright.evaluation import Evaluation
from netwright.rng import stream
from netwright.runs.measure import Measurement, chosen
from netwright.runs.run import Run
from netwright.spaces.nasbench101 import NASBench101


class Chance:
    """The score is the first number of an evaluation's stream; the sixth architecture fails."""

    chunk = 2

    def __init__(self):
        self.calls = 0

    def __call__(self, archs, *, rngs):
        self.calls += len(archs)
        score = torch.stack([torch.rand(1, generator=rng)[0] for rng in rngs])
        bad = (archs.ops == ALL[5:6].ops).all(dim=1)
        error = tuple("too deep" if b else None for b in bad.tolist())
        score = score.masked_fill(bad, torch.nan)
        return Evaluation(score, torch.ones(len(archs)), {"twice": 2 * score}, error)


def measurement(folder, **changes):
    fields = {"archs": ALL[:12], "seeds": range(2), "config": {"build": {"what": {"a": 1}}}}
    return Measurement(folder, SPACE, **(fields | changes))


def same(a, b):
    return all(
        torch.equal(x.score.nan_to_num(-1), y.score.nan_to_num(-1))
        and x.error == y.error
        and torch.equal(x.extras["twice"].nan_to_num(-1), y.extras["twice"].nan_to_num(-1))
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def calm(tmp_path):
    made = measurement(tmp_path / "calm")
    list(made.execute(Chance()))
    return made


def test_evaluation_i_of_every_seed_is_of_architecture_i(calm):
    results = calm.results()
    assert len(results) == 2
    for seed, result in zip(calm.seeds, results, strict=True):
        for i in range(12):
            expected = torch.rand(1, generator=stream(seed, f"evaluation/{i}"))
            if i == 5:
                assert result.score[i].isnan()
                assert result.error[i] == "too deep"
                continue
            assert float(result.score[i]) == pytest.approx(float(expected), abs=1e-7)
            assert result.error[i] is None
    assert calm.count() == calm.total == 24
    assert (calm.folder / "seed-1" / "ledger.sqlite").exists()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("stop", [1, 5, 7])
def test_it_goes_on_where_it_stopped_and_pays_for_nothing_twice(tmp_path, calm, stop, workers):
    made, evaluator = measurement(tmp_path / "stopped"), Chance()
    for part in (stop, None):
        events = made.execute(evaluator, workers=workers)
        for number, _ in enumerate(events, 1):
            if number == part:
                break
        events.close()
    assert same(made.results(), calm.results())
    if workers == 1:  # else those under way when it stopped were lost
        assert evaluator.calls == 24
    assert list(made.execute(evaluator)) == []


def test_workers_measure_side_by_side(tmp_path):
    meeting = threading.Barrier(3)

    def together(archs, *, rngs):
        meeting.wait(timeout=60)  # broken unless three are there at the same time
        return Noisy()(archs, rngs=rngs)

    together.chunk = 1
    assert len(list(measurement(tmp_path, seeds=[0]).execute(together, workers=3))) == 12


def test_unfinished_results_are_refused(tmp_path):
    made = measurement(tmp_path)
    events = made.execute(Chance())
    next(events)
    events.close()
    assert made.count() == 2
    with pytest.raises(ValueError, match=r"seed-0 has 2 of 12 evaluations: go on with the same"):
        made.results()


def test_more_seeds_keep_those_there_are(calm):
    evaluator = Chance()
    more = measurement(calm.folder, seeds=range(3))
    list(more.execute(evaluator))
    assert evaluator.calls == 12
    assert same(more.results()[:2], calm.results())


def test_another_measurement_in_the_same_folder_is_refused(calm):
    other = measurement(calm.folder, config={"build": {"what": {"a": 2}}})
    for call in (other.count, other.results, lambda: next(other.execute(Noisy()))):
        with pytest.raises(ValueError, match=r"made with build.what.a = 1, not 2"):
            call()
    list(calm.execute(Chance()))


def test_a_run_of_it_opens_as_any_other(calm):
    run = Run.open(calm.folder / "seed-0")
    assert run.ledger.count() == 12
    assert {row.origin for row in run.ledger.rows()} == {"listed"}
    assert run.config == {"build": {"what": {"a": 1}}, "seed": 0}


@pytest.mark.parametrize("changes", [{"archs": ALL[:0]}, {"seeds": ()}])
def test_nothing_to_measure(tmp_path, changes):
    with pytest.raises(ValueError, match="at least one architecture and one seed"):
        measurement(tmp_path, **changes)


def test_the_whole_space_or_a_sample():
    assert chosen(SPACE, None, seed=0).equal(SPACE.enumerate()).all()
    some, again, other = (chosen(SPACE, 9, seed=seed) for seed in (0, 0, 1))
    assert len(some) == len({tuple(key) for key in SPACE.keys(some).tolist()}) == 9
    assert some.equal(again).all()
    assert not some.equal(other).all()
    with pytest.raises(ValueError, match="toy has 27 architectures, not 28"):
        chosen(SPACE, 28, seed=0)
    with pytest.raises(ValueError, match="cannot be listed as a whole: give the size of a sample"):
        chosen(NASBench101(max_nodes=8), None, seed=0)
