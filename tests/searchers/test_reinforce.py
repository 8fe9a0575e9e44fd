import math

import pytest
import torch
from independent import Chains, Independent, Invalid, Stuck

from netwright.files import load_state, save_state
from netwright.generators.base import Generator
from netwright.rng import stream
from netwright.searchers import reinforce
from netwright.searchers.policy_gradient import FitOptions, Learner, Lesson, fit
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.searchers.schedules import Constant, Linear
from netwright.searchers.together import train_together
from netwright.spaces.toy import Toy

SPACE = Toy()
ALL = SPACE.enumerate()
SCORE = ALL.ops.sum(dim=1) / 6
QUICK = FitOptions(epochs=3, learning_rate=0.1)


def make(policy=Independent, *, space=SPACE, epsilon=0.0, explorer=None, **options):
    if not callable(epsilon):
        epsilon = Constant(epsilon)
    options = ReinforceOptions(**({"fit": QUICK, "epsilon": epsilon} | options))
    start = stream(0, "start")
    return Reinforce(space, policy, explorer=explorer, options=options, rng=start)


@pytest.fixture
def updates(monkeypatch):
    """The buffers of every update."""
    record = []

    def spy(lessons, options):
        record.extend((lesson.archs, lesson.score) for lesson in lessons)
        return fit(lessons, options)

    monkeypatch.setattr(reinforce, "fit", spy)
    return record


def test_defaults_are_the_papers_for_nasbench101():
    options = ReinforceOptions()
    assert (options.capacity, options.update_every, options.refit) == (30, 10, False)
    assert [options.epsilon(told) for told in (0, 15, 30, 300)] == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"update_every": 0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReinforceOptions(**wrong)


def test_a_generator_without_likelihood_is_refused():
    class Sampler(Generator):
        def __init__(self, layout, *, rng):
            super().__init__()
            self.layout, self.rng = layout, rng

        def sample(self, n, *, rng):
            return SPACE.sample(n, rng=rng)

    with pytest.raises(TypeError, match="Sampler has no log_prob"):
        make(Sampler)


def test_every_proposal_has_its_own_coin():
    space, rng = Chains(20), stream(0, "searcher")
    searcher = make(space=space, epsilon=0.3)
    origins = [searcher.ask(40, rng=rng).origin for _ in range(10)]
    counts = [row.count("explorer") for row in origins]
    assert {word for row in origins for word in row} == {"explorer", "generator"}
    assert all(0 < count < 40 for count in counts), "not one coin for all"
    assert abs(sum(counts) / 400 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 400)


@pytest.mark.parametrize(("epsilon", "origin"), [(0.0, "generator"), (1.0, "explorer")])
def test_the_ends_of_the_schedule_are_certain(epsilon, origin):
    searcher = make(space=Chains(20), epsilon=epsilon)
    assert set(searcher.ask(200, rng=stream(0, "searcher")).origin) == {origin}


def test_the_explorer_explores():
    space = Chains(12)
    explorer = Independent(space.layout, rng=stream(0, "x"))
    with torch.no_grad():
        explorer.logits.copy_(torch.tensor([3.0, 0.0, 0.0]))
    searcher = make(space=space, epsilon=1.0, explorer=explorer)
    assert searcher.ask(100, rng=stream(0, "s")).archs.ops.float().mean() < 0.3
    own = make(space=space, epsilon=1.0)
    assert own.ask(100, rng=stream(0, "s")).archs.ops.float().mean() > 0.6


def test_epsilon_counts_told_evaluations_failed_ones_too():
    searcher, rng = make(epsilon=Linear(1.0, 0.0, over=10)), stream(0, "searcher")
    searcher.ask(5, rng=rng)
    assert searcher.stats()["epsilon"] == 1.0
    searcher.tell(ALL[:4], torch.full((4,), torch.nan), rng=rng)
    assert searcher.stats()["epsilon"] == pytest.approx(0.6)
    searcher.tell(ALL[:4], SCORE[:4], rng=rng)
    assert searcher.stats()["epsilon"] == pytest.approx(0.2)


def test_a_collapsed_generator_falls_back_to_the_explorer_and_says_so():
    searcher, rng = make(Stuck), stream(0, "searcher")
    found = searcher.ask(5, rng=rng)
    assert sorted(found.origin) == ["explorer"] * 4 + ["generator"]
    assert searcher.stats()["fallback"] == 4
    assert searcher.stats()["valid"] == 1.0
    assert searcher.stats()["repeats"] == 499
    assert set(searcher.ask(3, rng=rng).origin) == {"explorer"}
    assert searcher.stats()["fallback"] == 7


def test_a_generator_of_invalid_graphs_falls_back_too():
    searcher = make(Invalid)
    found = searcher.ask(5, rng=stream(0, "searcher"))
    assert set(found.origin) == {"explorer"}
    assert searcher.stats()["fallback"] == 5
    assert searcher.stats()["valid"] == 0.0


def test_the_space_stands_in_for_a_collapsed_explorer():
    searcher = make(Stuck, explorer=Stuck(SPACE.layout, rng=stream(0, "x")), epsilon=0.5)
    found = searcher.ask(30, rng=stream(0, "searcher"))
    assert len(found) == 27
    assert found.origin.count("random") == 26


def test_updates_come_when_a_multiple_of_update_every_is_told(updates):
    searcher, rng = make(update_every=4), stream(0, "searcher")
    for i in range(7):
        searcher.tell(ALL[i : i + 1], SCORE[i : i + 1], rng=rng)
        assert searcher.policy is not None  # who asks for it gets it up to date
        assert len(updates) == (i + 1) // 4
    searcher.tell(ALL[7:20], SCORE[7:20], rng=rng)  # several multiples at once: one update
    assert searcher.policy is not None
    assert len(updates) == 2
    assert searcher.policy is not None
    assert len(updates) == 2, "nothing new was told"


@pytest.mark.parametrize("refit", [False, True])
def test_an_update_waits_until_the_generator_is_needed(updates, refit):
    epsilon = Linear(1.0, 0.0, over=9)
    searcher, rng = make(update_every=3, refit=refit, epsilon=epsilon), stream(0, "s")
    for i in range(0, 9, 3):
        searcher.tell(ALL[i : i + 3], SCORE[i : i + 3], rng=rng)
    # Going on needs every update in turn; a new generator makes up for those before.
    assert [len(archs) for archs, _ in updates] == ([] if refit else [3, 6])
    searcher.ask(2, rng=rng)
    assert [len(archs) for archs, _ in updates] == ([9] if refit else [3, 6, 9])


def test_an_update_that_is_due_survives_a_checkpoint():
    searcher, again = make(update_every=3, refit=True), make(update_every=3, refit=True)
    searcher.tell(ALL[:6], SCORE[:6], rng=stream(0, "tell"))
    again.load_state_dict(searcher.state_dict())
    assert torch.equal(searcher.policy.logits, again.policy.logits)
    fresh = make(update_every=3, refit=True)
    assert not torch.equal(fresh.policy.logits, again.policy.logits)


def test_searchers_update_together_as_they_would_alone(updates):
    def told(seed):
        searcher = make(update_every=3)
        scores = torch.rand(6, generator=stream(seed, "score"))
        searcher.tell(ALL[:6], scores, rng=stream(seed, "tell"))
        return searcher

    alone, together = [told(seed) for seed in range(3)], [told(seed) for seed in range(3)]
    train_together([*together, object()])
    assert len(updates) == 3
    for a, b in zip(alone, together, strict=True):
        assert b._due is None
        torch.testing.assert_close(a.policy.logits, b.policy.logits)
    assert len({float(s.policy.logits.detach()[0, 0]) for s in together}) == 3


def test_training_sees_the_best_and_no_failures(updates):
    searcher, rng = make(update_every=27, capacity=5), stream(0, "searcher")
    score = SCORE.masked_fill(SCORE == 1, torch.nan)
    searcher.tell(ALL, score, rng=rng)
    assert searcher.policy is not None
    ((_, trained),) = updates
    assert trained.tolist() == score.nan_to_num(nan=0).sort(descending=True).values[:5].tolist()
    stats = searcher.stats()
    assert stats["buffer max"] == pytest.approx(5 / 6)
    assert stats["buffer min"] == pytest.approx(4 / 6)
    assert stats["buffer mean"] == pytest.approx((3 * 5 / 6 + 2 * 4 / 6) / 5)


def test_nothing_is_trained_on_failures_alone(updates):
    searcher, rng = make(update_every=3), stream(0, "searcher")
    searcher.tell(ALL[:9], torch.full((9,), torch.nan), rng=rng)
    assert searcher.policy is not None
    assert updates == []


@pytest.mark.parametrize("train_on", ["pruned", "raw"])
def test_what_was_not_drawn_here_is_trained_on_simplified(updates, train_on):
    space = Chains(2)
    searcher = make(space=space, update_every=2, train_on=train_on)
    rng = stream(0, "searcher")
    searcher.tell(space.from_text(["ac", "aa"]), torch.tensor([0.1, 0.2]), rng=rng)
    assert "ab" not in space.to_text(searcher.ask(2, rng=rng).archs)
    assert space.to_text(updates[0][0]) == ["aa", "ab"]


class Cees(Independent):
    """Draws operation 2, another name for operation 1, in place of 1."""

    def sample(self, n, *, rng):
        return self.chains(2 * super().sample(n, rng=rng).ops.clamp(max=1))


@pytest.mark.parametrize("origin", ["generator", "explorer"])
@pytest.mark.parametrize("train_on", ["pruned", "raw"])
def test_the_graph_as_it_was_drawn_is_trained_on_if_wanted(updates, train_on, origin):
    space = Chains(12)
    explorer = Cees(space.layout, rng=stream(0, "x")) if origin == "explorer" else None
    options = {"train_on": train_on, "update_every": 6, "epsilon": float(origin == "explorer")}
    searcher = make(Cees, space=space, explorer=explorer, **options)
    again = make(Cees, space=space, explorer=explorer, **options)
    proposals = searcher.ask(6, rng=stream(0, "searcher"))
    assert set(proposals.origin) == {origin}
    again.load_state_dict(searcher.state_dict())
    for each in (searcher, again):  # drawings survive a checkpoint
        each.tell(proposals.archs, torch.arange(6.0), rng=stream(1, "tell"))
        assert each.policy is not None
        drawn, _ = updates.pop()
        assert space.to_text(space.simplify(drawn)) == space.to_text(proposals.archs)[::-1]
        assert (int(drawn.ops.max()) == 2) == (train_on == "raw")


def test_drawings_are_forgotten_when_told():
    space = Chains(12)
    searcher, rng = make(space=space, train_on="raw"), stream(0, "searcher")
    first, second = searcher.ask(4, rng=rng), searcher.ask(4, rng=rng)
    searcher.tell(first.archs, torch.arange(4.0), rng=rng)
    assert len(searcher.state_dict()["drawn"]["ops"]) == len(second)


@pytest.mark.slow
def test_one_coin_for_a_whole_step():
    space, rng = Chains(20), stream(0, "searcher")
    searcher = make(space=space, epsilon=0.3, coin="step")
    origins = [set(searcher.ask(4, rng=rng).origin) for _ in range(200)]
    assert all(len(row) == 1 for row in origins)
    share = sum(row == {"explorer"} for row in origins) / 200
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 200)


def test_the_temperature_reaches_the_generator():
    seen = []

    class Warm(Independent):
        def sample(self, n, *, rng, temperature=1.0):
            seen.append(temperature)
            return super().sample(n, rng=rng)

    make(Warm, temperature=0.7).ask(2, rng=stream(0, "s"))
    assert set(seen) == {0.7}
    with pytest.raises(ValueError, match="temperature"):
        ReinforceOptions(temperature=0.0)


def test_a_share_of_all_is_trained_on_that_may_shrink(updates):
    share = Linear(0.5, 0.1, over=20)
    searcher, rng = make(update_every=10, share=share), stream(0, "searcher")
    for i in (0, 10):
        searcher.tell(ALL[i : i + 10], SCORE[i : i + 10], rng=rng)
    assert searcher.policy is not None
    assert [len(score) for _, score in updates] == [3, 2]  # 30 % of 10, 10 % of 20
    best = SCORE[:20].double().sort(descending=True).values[:2]
    assert updates[-1][1].tolist() == best.tolist()


def expected_logits(updates, seeds, *, refit):
    """Two updates by hand, with the random streams of `Reinforce`."""
    learner = Learner(Independent(SPACE.layout, rng=stream(0, "start")))
    for (archs, score), seed in zip(updates, seeds, strict=True):
        rng = torch.Generator().manual_seed(seed)
        if refit:
            learner = Learner(Independent(SPACE.layout, rng=rng))
        fit([Lesson(learner, archs, score, rng)], QUICK)
    return learner.policy.logits


@pytest.mark.parametrize("refit", [False, True])
def test_updates_go_on_with_the_generator_and_adam_or_start_afresh(updates, refit):
    searcher, rng = make(update_every=3, refit=refit), stream(0, "tell")
    seeds = []
    for i in range(0, 6, 3):
        searcher.tell(ALL[i : i + 3], SCORE[i : i + 3], rng=rng)
        seeds.append(searcher.state_dict()["due"])
        assert searcher.policy is not None
    assert len(updates) == 2
    assert torch.equal(searcher.policy.logits, expected_logits(updates, seeds, refit=refit))
    other = expected_logits(updates, seeds, refit=not refit)
    assert not torch.equal(searcher.policy.logits, other)


def test_the_order_in_which_a_batch_is_told_does_not_change_what_is_learned():
    logits = []
    distinct = torch.rand(27, generator=stream(0, "score"))
    for order in (torch.arange(27), torch.arange(27).flip(0)):
        searcher = make(update_every=27)
        searcher.tell(ALL[order], distinct[order], rng=stream(0, "tell"))
        logits.append(searcher.policy.logits)
    assert torch.equal(*logits)


def test_entropy_is_in_nats():
    def uniform(layout, *, rng):
        return Independent(layout, rng=rng, spread=0.0)

    searcher = make(uniform)
    searcher.ask(9, rng=stream(0, "searcher"))
    assert searcher.stats()["entropy"] == pytest.approx(3 * math.log(3), rel=1e-6)


def test_stats_of_the_update_are_of_the_last_one():
    searcher, rng = make(update_every=9), stream(0, "searcher")
    assert not {"loss", "gradient norm", "buffer mean", "entropy"} & set(searcher.stats())
    searcher.tell(ALL[:9], SCORE[:9], rng=rng)
    train_together([searcher])
    assert searcher.stats()["gradient norm"] > 0
    before = searcher.stats()["loss"]
    searcher.tell(ALL[9:18], SCORE[9:18], rng=rng)
    train_together([searcher])
    assert searcher.stats()["loss"] != before


def test_goes_on_bit_for_bit_from_a_file(tmp_path):
    searcher, rng = make(update_every=3), stream(0, "searcher")
    searcher.tell(ALL[::3], SCORE[::3], rng=rng)
    save_state(tmp_path / "state", {"searcher": searcher.state_dict(), "rng": rng.get_state()})
    state = load_state(tmp_path / "state")
    again, again_rng = make(update_every=3), stream(1, "other")
    again.load_state_dict(state["searcher"])
    again_rng.set_state(state["rng"])
    for each, random_state in ((searcher, rng), (again, again_rng)):
        each.ask(4, rng=random_state)
        each.tell(ALL[1::3], SCORE[1::3], rng=random_state)
    assert torch.equal(searcher.policy.logits, again.policy.logits)
    assert searcher.stats() == again.stats()


def test_architectures_outside_the_space_are_refused():
    bad = Invalid(SPACE.layout, rng=stream(0, "x")).sample(1, rng=stream(0, "x"))
    with pytest.raises(ValueError, match="not in toy"):
        make().tell(bad, torch.zeros(1), rng=stream(0, "tell"))
