"""The search loop: what is evaluated, told and paid for, and what an earlier life leaves behind."""

import math
import threading
import time

import pytest
import torch
from sensitive import ALL, SPACE, Noisy, Scripted, Sensitive

from netwright.crew import GRACE
from netwright.evaluation import Evaluation
from netwright.progress import Chunk, Progress, Step
from netwright.rng import stream
from netwright.search import PATIENCE, search
from netwright.searchers.base import Proposals

MODES = ("batch", "asynchronous")


def run(searcher, evaluator, *, budget=20, batch_size=4, seed=0, **options):
    loop = search(searcher, evaluator, budget=budget, batch_size=batch_size, seed=seed, **options)
    return list(loop)


def chunks(events, *statuses):
    return [e for e in events if isinstance(e, Chunk) and e.status in (statuses or (e.status,))]


def chunks_of(loop):
    return (event for event in loop if isinstance(event, Chunk))


def paid(events):
    """Text, score and extras of every evaluation, by number."""
    found = {}
    for chunk in chunks(events, "evaluated"):
        texts = SPACE.to_text(chunk.proposals.archs)
        for i, index in enumerate(chunk.index):
            assert index not in found
            score, noise = chunk.evaluation.score[i], chunk.evaluation.extras["noise"][i]
            found[index] = (texts[i], repr(float(score)), float(noise), chunk.step)
    return dict(sorted(found.items()))


def seeds(numbers, seed=0):
    return [stream(seed, f"evaluation/{i}").initial_seed() for i in numbers]


def told(searcher):
    return [(text, repr(score)) for text, score in searcher.told]


# What is evaluated


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_budget_counts_distinct_architectures(mode, workers):
    evaluator, searcher = Noisy(), Sensitive(fresh=False)
    events = run(searcher, evaluator, workers=workers, mode=mode)
    results = paid(events)
    assert list(results) == list(range(20))
    assert len({text for text, *_ in results.values()}) == 20
    assert sorted(evaluator.paid) == sorted(seeds(range(20)))
    repeats = chunks(events, "repeat")
    assert repeats, "27 architectures drawn with replacement repeat"
    for chunk in repeats:
        for i, index in enumerate(chunk.index):
            text, score, noise, _ = results[index]
            assert SPACE.to_text(chunk.proposals.archs)[i] == text
            assert repr(float(chunk.evaluation.score[i])) == score
            assert float(chunk.evaluation.extras["noise"][i]) == noise
            assert float(chunk.evaluation.cost[i]) == 0
    assert [e for e in events if isinstance(e, Step)][-1].evaluations == 20


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batch_mode_is_the_same_for_any_chunk_and_number_of_workers(chunk, workers):
    expected = Sensitive(fresh=False)
    first = run(expected, Noisy(), batch_size=6)
    searcher = Sensitive(fresh=False)
    slow = Noisy(chunk, delay=lambda noise: float(0.01 * noise.sum()))
    events = run(searcher, slow, batch_size=6, workers=workers)
    assert paid(events) == paid(first)
    assert told(searcher) == told(expected)
    assert [e for e in events if isinstance(e, Step)] == [e for e in first if isinstance(e, Step)]
    assert all(len(call) <= chunk for call in slow.calls)
    if workers == 1:
        numbers = [i for c in chunks(events, "evaluated") for i in c.index]
        assert numbers == list(range(20))


def test_seeds_decide():
    first, same, other = (paid(run(Sensitive(), Noisy(), seed=s)) for s in (0, 0, 1))
    assert first == same
    assert first != other


def test_scores_are_told_in_the_order_of_the_proposals_as_32_bit_floats():
    class Exact(Noisy):
        def __call__(self, archs, *, rngs):
            score = (archs.ops[:, :3] * torch.tensor([9, 3, 1])).sum(dim=1).double() / 27
            return Evaluation(score, torch.zeros(len(rngs)), {"noise": score})

    searcher = Scripted([3, 1, 2, 1], [0, 3], [26])
    events = run(searcher, Exact(chunk=2), budget=5, batch_size=4, workers=2)
    rows = [3, 1, 2, 1, 0, 3, 26]
    wanted = [float(torch.tensor(i / 27, dtype=torch.float32)) for i in rows]
    assert searcher.told == list(zip(SPACE.to_text(ALL[torch.tensor(rows)]), wanted, strict=True))
    assert chunks(events)[0].evaluation.score.dtype == torch.float64
    repeats = [(c.step, c.index, c.proposals.origin) for c in chunks(events, "repeat")]
    assert repeats == [(0, (1,), ("script",)), (1, (0,), ("script",))]


@pytest.mark.parametrize("chunk", [1, 4])
def test_each_chunk_is_yielded_before_the_next_starts(chunk):
    evaluator, count = Noisy(chunk), 0
    for event in chunks_of(search(Sensitive(), evaluator, budget=12, batch_size=12, seed=0)):
        count += 1
        assert len(evaluator.calls) == count
        assert len(event) == chunk
    assert count == 12 // chunk


def test_an_idle_worker_starts_only_when_its_result_was_taken():
    started, gate = threading.Semaphore(0), threading.Semaphore(0)

    class Gated(Noisy):
        def __call__(self, archs, *, rngs):
            started.release()
            gate.acquire()
            return super().__call__(archs, rngs=rngs)

    evaluator = Gated()
    loop = search(Sensitive(), evaluator, budget=4, batch_size=4, seed=0, workers=2)
    gate.release()
    next(loop)
    assert started.acquire(timeout=5)
    assert started.acquire(timeout=5)
    assert not started.acquire(timeout=0.1)
    gate.release(3)
    assert len([e for e in loop if isinstance(e, Chunk)]) == 3


@pytest.mark.parametrize("mode", MODES)
def test_failures_are_data(mode):
    searcher = Sensitive()
    events = run(searcher, Noisy(), budget=27, mode=mode)
    failed = [c for c in chunks(events) if c.evaluation.score.isnan().any()]
    assert len(failed) == 3
    assert {e for c in failed for e in c.evaluation.error} == {"diverged"}
    assert sum(math.isnan(score) for _, score in searcher.told) == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 4])
def test_an_exhausted_space_ends_the_search(mode, workers):
    searcher = Sensitive()
    events = run(searcher, Noisy(), budget=100, batch_size=8, workers=workers, mode=mode)
    assert sorted(t for t, *_ in paid(events).values()) == sorted(SPACE.to_text(ALL))
    assert len(searcher.told) == 27


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_searcher_that_only_repeats_itself_is_stopped(mode, workers):
    searcher = Scripted([5], [7], [5])
    with pytest.raises(RuntimeError, match="nothing new"):
        run(searcher, Noisy(), budget=3, mode=mode, workers=workers, batch_size=1)
    assert len(searcher.told) - 2 >= PATIENCE - 1


def test_patience_is_for_steps_in_a_row():
    again = [[5]] * (PATIENCE - 1)
    searcher = Scripted([5], *again, [6], *again, [7])
    assert len(paid(run(searcher, Noisy(), budget=3, batch_size=1))) == 3


@pytest.mark.parametrize("mode", MODES)
def test_initial_labels_are_told_first_and_cost_nothing(mode):
    labels = ALL[:5], torch.tensor([0.1, 0.2, 0.3, torch.nan, 0.5], dtype=torch.float64)
    searcher = Sensitive()
    events = run(searcher, Noisy(), budget=6, batch_size=3, initial=labels, mode=mode)
    first, second = events[:2]
    assert (first.status, first.index, first.step) == ("initial", (-1,) * 5, 0)
    assert second == Step(0, 0, second.stats)
    assert [text for text, _ in searcher.told[:5]] == SPACE.to_text(ALL[:5])
    assert searcher.told[0][1] == float(torch.tensor(0.1))
    assert list(paid(events)) == list(range(6))
    assert min(c.step for c in chunks(events, "evaluated")) == 1
    assert not {t for t, *_ in paid(events).values()} & set(SPACE.to_text(ALL[:5]))


def test_asynchronous_mode_keeps_all_workers_busy_and_tells_each_result():
    """The first evaluation ends last: in batch mode the others would have to wait for it."""
    release, order = threading.Event(), []

    class FirstIsSlow(Noisy):
        def __call__(self, archs, *, rngs):
            if rngs[0].initial_seed() == seeds([0])[0]:
                assert release.wait(timeout=10)
            return super().__call__(archs, rngs=rngs)

    searcher = Sensitive()
    loop = search(
        searcher, FirstIsSlow(), budget=12, batch_size=1, seed=0, workers=2, mode="asynchronous"
    )
    for event in loop:
        if isinstance(event, Chunk):
            order += event.index
        else:
            assert len(searcher.told) == len(order) == event.evaluations == event.step + 1
            if len(order) == 11:
                release.set()
    assert order == [*range(1, 12), 0]


def test_asynchronous_mode_waits_for_an_architecture_proposed_again_in_flight():
    evaluator = Noisy(delay=lambda _: 0.02)
    searcher = Scripted([5], [5], [5], [6])
    events = run(searcher, evaluator, budget=2, mode="asynchronous", workers=3)
    assert len(paid(events)) == len(evaluator.paid) == 2


def test_asynchronous_mode_waits_where_only_a_result_can_help():
    impatient = threading.Event()

    class Waiting(Scripted):
        def ask(self, n, *, rng):
            if self.script[0] == [7] and len(set(self.told)) < 2:
                return Proposals.of(ALL[8:9], "script")  # a repeat, until 6 is told
            return super().ask(n, rng=rng)

        def tell(self, archs, score, *, rng):
            super().tell(archs, score, rng=rng)
            if len(self.told) == PATIENCE:
                impatient.set()

    class SlowSecond(Noisy):
        def __call__(self, archs, *, rngs):
            if SPACE.to_text(archs) == SPACE.to_text(ALL[6:7]):
                assert impatient.wait(timeout=30)
                time.sleep(0.1)
            return super().__call__(archs, rngs=rngs)

    searcher = Waiting([8], [6], [7])
    events = run(searcher, SlowSecond(), budget=3, mode="asynchronous", workers=2)
    assert len(paid(events)) == 3
    assert len(chunks(events, "repeat")) == PATIENCE - 1


# What goes wrong


@pytest.mark.parametrize("name", ["budget", "batch_size", "workers"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        run(Sensitive(), Noisy(), **{name: 0})


def test_unknown_modes_are_refused():
    unchecked = getattr(search, "__wrapped__", search)  # the test run checks types, users do not
    loop = unchecked(Sensitive(), Noisy(), budget=1, batch_size=1, seed=0, mode="both")
    with pytest.raises(ValueError, match="mode must be one of batch, asynchronous, not 'both'"):
        next(loop)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_wrong_number_of_results_or_proposals_is_refused(mode, workers):
    class Short(Noisy):
        def __call__(self, archs, *, rngs):
            return super().__call__(archs, rngs=rngs)[:0]

    with pytest.raises(ValueError, match="evaluator returned 0 results for 1 architectures"):
        run(Sensitive(), Short(), mode=mode, workers=workers)
    with pytest.raises(ValueError, match="asked for 1 architectures, the searcher proposed 2"):
        run(Scripted([1, 2]), Noisy(), batch_size=1, mode=mode, workers=workers)


class Bug(Exception):
    pass


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_program_raises(mode, workers):
    class Buggy(Noisy):
        def __call__(self, archs, *, rngs):
            if rngs[0].initial_seed() == seeds([2])[0]:
                raise Bug("a fault in the program")
            return super().__call__(archs, rngs=rngs)

    with pytest.raises(Bug, match="a fault in the program"):
        run(Sensitive(), Buggy(), mode=mode, workers=workers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("budget", [3, 6])
def test_results_in_hand_come_before_the_failure_of_another_worker(mode, budget):
    taken, failed, finished, over = (threading.Event() for _ in range(4))
    started = []

    class Buggy(Noisy):
        def __call__(self, archs, *, rngs):
            number = seeds(range(6)).index(rngs[0].initial_seed())
            started.append(number)
            if number > 2:
                over.wait(timeout=5)
            if number == 1:
                taken.wait(timeout=5)
                failed.set()
                raise Bug
            result = super().__call__(archs, rngs=rngs)
            if number == 2:
                failed.wait(timeout=5)
                time.sleep(0.1)  # so that the failure is first in the queue
                finished.set()
            return result

    found, searcher = [], Sensitive()

    def consume():
        for chunk in chunks_of(
            search(searcher, Buggy(), budget=budget, batch_size=6, seed=0, workers=3, mode=mode)
        ):
            found.extend(chunk.index)
            taken.set()
            finished.wait(timeout=5)
            time.sleep(0.1)

    with pytest.raises(Bug):
        consume()
    over.set()
    assert found == [0, 2]
    assert sorted(started) == [0, 1, 2, 3][:budget], "nothing starts once the failure is known"
    assert len(searcher.told) == (0 if mode == "batch" else 2), "half a batch is not told"


def test_nothing_starts_after_a_failure():
    class Buggy(Noisy):
        def __call__(self, archs, *, rngs):
            if rngs[0].initial_seed() == seeds([1])[0]:
                raise Bug
            time.sleep(0.05)
            return super().__call__(archs, rngs=rngs)

    evaluator = Buggy()
    with pytest.raises(Bug):
        run(Sensitive(), evaluator, batch_size=10, workers=2)
    time.sleep(0.2)
    assert len(evaluator.calls) <= 1


@pytest.mark.parametrize("mode", MODES)
def test_closing_the_iterator_does_not_wait_for_what_is_running(mode):
    release = threading.Event()

    class Endless(Noisy):
        def __call__(self, archs, *, rngs):
            if len(self.calls) > 1:
                release.wait(timeout=60)
            return super().__call__(archs, rngs=rngs)

    evaluator = Endless()
    loop = search(Sensitive(), evaluator, budget=20, batch_size=10, seed=0, workers=2, mode=mode)
    next(loop)
    begun = time.monotonic()
    loop.close()
    assert time.monotonic() - begun < GRACE + 1
    calls = len(evaluator.calls)
    release.set()
    time.sleep(0.2)
    assert len(evaluator.calls) <= calls + 2, "nothing new starts"
    assert not [t for t in threading.enumerate() if t.name.startswith("evaluation-")]


def test_threads_end_with_the_search():
    run(Sensitive(), Noisy(), workers=4)
    assert not [t for t in threading.enumerate() if t.name.startswith("evaluation-")]


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_in_an_evaluation_ends_the_search(mode):
    class Interrupted(Noisy):
        def __call__(self, archs, *, rngs):
            if len(self.calls) == 3:
                raise KeyboardInterrupt
            return super().__call__(archs, rngs=rngs)

    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(search(Sensitive(), Interrupted(), budget=9, batch_size=9, seed=0, mode=mode))


# Earlier lives


def through_disk(state):
    """A copy that shares nothing."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {k: through_disk(v) for k, v in state.items()}
    return [through_disk(v) for v in state] if isinstance(state, list) else state


def cut(events_until, *, checkpoint_at, workers=1, mode="batch", fresh=False, delay=None):
    """Search until so many events have come; return results, and the state at a checkpoint."""
    searcher, progress = Sensitive(fresh=fresh), Progress.start(0)
    loop = search(
        searcher, Noisy(delay=delay), budget=20, batch_size=4, seed=0, workers=workers, mode=mode,
        progress=progress,
    )  # fmt: skip
    events, state, steps = [], None, 0
    for event in loop:
        events.append(event)
        if isinstance(event, Step):
            steps += 1
            if steps == checkpoint_at:
                state = through_disk([searcher.state_dict(), progress.state_dict()])
        if len(events) == events_until:
            break
    loop.close()
    return events, state


def revive(events, state, *, salt=0.0, fresh=False, workers=1, mode="batch", budget=20):
    """Go on from a checkpoint (or from nothing) and the results that were paid for."""
    searcher, progress = Sensitive(fresh=fresh, salt=salt), Progress.start(0)
    if state is not None:
        searcher.load_state_dict(through_disk(state[0]))
        progress.load_state_dict(through_disk(state[1]))
    for chunk in chunks(events, "evaluated"):
        progress.recall(chunk)
    evaluator = Noisy()
    more = run(searcher, evaluator, budget=budget, workers=workers, mode=mode, progress=progress)
    return searcher, evaluator, progress, more


@pytest.mark.parametrize("checkpoint_at", [0, 1, 3])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_cut_anywhere_goes_on_bit_for_bit(checkpoint_at, workers):
    whole = Sensitive(fresh=False)
    undisturbed = run(whole, Noisy())
    for until in range(1 + checkpoint_at % 3, len(undisturbed), 4):
        events, state = cut(until, checkpoint_at=checkpoint_at, workers=workers)
        before = paid(events)
        searcher, evaluator, progress, more = revive(events, state, workers=4 - workers)
        assert paid(events) | paid(more) == paid(undisturbed)
        assert not set(evaluator.paid) & set(seeds(before)), "paid for twice"
        assert len(evaluator.paid) == 20 - len(before)
        assert torch.equal(searcher.memory, whole.memory)
        assert told(searcher) == told(whole)[len(told(whole)) - len(searcher.told) :]
        assert progress.step == [e for e in undisturbed if isinstance(e, Step)][-1].step + 1
        steps = {e.step: e for e in [*events, *more] if isinstance(e, Step)}
        assert list(steps.values()) == [e for e in undisturbed if isinstance(e, Step)]
        repeats = {
            (c.step, c.index): None for c in [*chunks(events, "repeat"), *chunks(more, "repeat")]
        }
        assert list(repeats) == [(c.step, c.index) for c in chunks(undisturbed, "repeat")]


@pytest.mark.parametrize("salt", [0.5, 0.25])
@pytest.mark.parametrize("checkpoint_at", [0, 2])
@pytest.mark.parametrize("until", [5, 14, 20])
def test_what_an_earlier_life_paid_for_and_this_one_would_not_propose_is_told(
    salt, checkpoint_at, until
):
    """Another number of threads: the searcher computes something else from the same results."""
    events, state = cut(until, checkpoint_at=checkpoint_at, fresh=True)
    before = paid(events)
    if state is not None:
        state[0]["memory"][1] += salt
    searcher, evaluator, progress, more = revive(events, state, salt=salt, fresh=True)
    assert len(evaluator.paid) == 20 - len(before), "the budget is kept"
    assert set(paid(more)) | set(before) == set(range(20))
    assert not set(paid(more)) & set(before)
    assert progress.told == set(range(20))
    known = {text for text, _ in searcher.told}
    late = {before[i][0] for i in before if state is None or i not in state[1]["told"].tolist()}
    assert late <= known
    assert {text for text, *_ in paid(more).values()} <= known
    assert len({text for text, *_ in (before | paid(more)).values()}) == 20


def test_a_paid_budget_is_told_although_the_searcher_goes_elsewhere():
    events, _ = cut(10_000, checkpoint_at=0, fresh=True)
    searcher, evaluator, _, more = revive(events, None, salt=0.5, fresh=True)
    assert evaluator.paid == []
    assert {t for t, _ in searcher.told} == {t for t, *_ in paid(events).values()}
    assert [e for e in more if isinstance(e, Step)][-1].evaluations == 20


def test_paid_results_are_told_to_a_searcher_that_has_nothing_to_propose():
    events, _ = cut(12, checkpoint_at=0, fresh=True)
    progress = Progress.start(0)
    for chunk in chunks(events, "evaluated"):
        progress.recall(chunk)
    searcher = Scripted([])
    run(searcher, Noisy(), progress=progress)
    assert told(searcher) == [
        (t, repr(float(torch.tensor(float(s))))) for t, s, *_ in paid(events).values()
    ]


def test_a_larger_budget_goes_on_from_the_end():
    events, state = cut(10_000, checkpoint_at=5, fresh=True)
    searcher, evaluator, _, more = revive(events, state, fresh=True, budget=27)
    assert list(paid(more)) == list(range(20, 27))
    assert sorted(evaluator.paid) == sorted(seeds(range(20, 27)))
    assert len(searcher.told) == 7


@pytest.mark.parametrize("checkpoint_at", [0, 1, 4])
@pytest.mark.parametrize("until", [1, 6, 9, 15, 30])
@pytest.mark.parametrize("workers", [1, 3])
def test_asynchronous_searches_lose_nothing(checkpoint_at, until, workers):
    delay = lambda noise: float(0.01 * noise.sum())  # noqa: E731 (short)
    events, state = cut(
        until, checkpoint_at=checkpoint_at, workers=workers, mode="asynchronous", fresh=True,
        delay=delay,
    )  # fmt: skip
    before = paid(events)
    searcher, evaluator, progress, more = revive(
        events, state, mode="asynchronous", fresh=True, workers=2
    )
    assert not set(paid(more)) & set(before)
    assert set(paid(more)) | set(before) == set(range(20))
    assert len(evaluator.paid) == 20 - len(before)
    assert progress.told == set(range(20))
    assert progress.asked == {}
    texts = [t for t, *_ in (before | paid(more)).values()]
    assert len(set(texts)) == 20
    already = set() if state is None else set(state[1]["told"].tolist())
    assert len(searcher.told) == 20 - len(already)
    # The searcher hears of earlier results before anything else, in the order they came in.
    order = [i for c in chunks(events, "evaluated") for i in c.index if i not in already]
    assert [t for t, _ in searcher.told[: len(order)]] == [before[i][0] for i in order]


def test_what_was_in_flight_at_an_asynchronous_checkpoint_is_evaluated_after_all():
    """Its searcher would never propose it again: the space would seem exhausted too early."""
    events, state = cut(
        4, checkpoint_at=1, workers=3, mode="asynchronous", fresh=True,
        delay=lambda noise: float(0.02 * noise.sum()),
    )  # fmt: skip
    numbers = state[1]["asked"]["numbers"]
    assert len(numbers) == 2
    _, evaluator, _, more = revive(events, state, mode="asynchronous", fresh=True, budget=50)
    in_flight = [i for i in numbers if i not in paid(events)]
    assert set(seeds(in_flight)) <= set(evaluator.paid)
    assert len({t for t, *_ in (paid(events) | paid(more)).values()}) == 27


def test_progress_survives_a_round_trip():
    progress = Progress.start(3)
    progress.step, progress.told = 7, {0, 2}
    progress.asked = {}
    torch.rand(3, generator=progress.rng)
    state = through_disk(progress.state_dict())
    expected = torch.rand(3, generator=progress.rng)
    back = Progress.start(0)
    back.load_state_dict(state)
    assert (back.step, back.told, back.asked) == (7, {0, 2}, {})
    assert torch.equal(torch.rand(3, generator=back.rng), expected)
    empty = through_disk(Progress.start(0).state_dict())
    back.load_state_dict(empty)
    assert (back.step, back.told) == (0, set())


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    run(Sensitive(), Noisy(), workers=2)
    assert torch.equal(before, torch.get_rng_state())


def test_isomorphic_architectures_are_one():
    """The same chain in other padding is a repeat."""

    class Padded(Scripted):
        def ask(self, n, *, rng):
            found = super().ask(n, rng=rng)
            return Proposals(found.archs.pad(5), found.origin) if self.told else found

    events = run(Padded([1], [1], [2]), Noisy(), budget=2, batch_size=1)
    assert [c.index for c in chunks(events, "repeat")] == [(0,)]


# A design


@pytest.mark.parametrize("mode", MODES)
def test_a_design_comes_first_whatever_the_searcher_proposes(mode):
    searcher, design = Sensitive(), ALL[3:8]
    events = run(searcher, Noisy(), budget=9, batch_size=3, design=design, mode=mode)
    found = paid(events)
    assert [text for text, *_ in found.values()][:5] == SPACE.to_text(design)
    assert len(found) == 9
    origins = [o for chunk in chunks(events, "evaluated") for o in chunk.proposals.origin]
    assert origins.count("design") == 5
    assert [text for text, _ in told(searcher)][:5] == SPACE.to_text(design)


@pytest.mark.parametrize("stop", range(1, 5))
def test_a_design_goes_on_where_it_was_stopped(stop):
    whole = run(Sensitive(), Noisy(), budget=9, batch_size=2, design=ALL[3:8])
    searcher, progress = Sensitive(), Progress.start(0)
    options = {"budget": 9, "batch_size": 2, "design": ALL[3:8], "seed": 0, "progress": progress}
    loop = search(searcher, Noisy(), **options)
    seen = [next(loop) for _ in range(stop)]
    loop.close()
    assert paid(seen + list(search(searcher, Noisy(), **options))) == paid(whole)
