import pickle
import re
import threading
from dataclasses import replace

import pytest
import torch
from small import RECIPE, SmallNetwork, finalist, small, stripes, trainer
from torch import nn

from netwright.evaluators.train import DIGITS_RECIPE, EARLY_STOPPING, LOW_DATA
from netwright.evaluators.training import fit, train
from netwright.images.digits import digits
from netwright.rng import scoped, stream
from netwright.spaces.toy import Toy

SPACE = Toy()
ARCHS = SPACE.sample(3, rng=stream(0, "architectures"))


def streams(n=3, seed=0):
    return [stream(seed, f"evaluation/{i}") for i in range(n)]


def test_score_is_the_mean_of_the_last_epochs_by_hand():
    evaluator, data = trainer(), stripes()
    result = evaluator(ARCHS, rngs=streams())
    for i, rng in enumerate(streams()):
        with scoped(rng):
            model = small(ARCHS[i : i + 1], in_channels=1, num_classes=2)
        history = fit(
            model,
            data,
            evaluator.recipe,
            rng=rng,
            train=evaluator.train_index,
            valid=evaluator.valid_index,
        )
        last = [epoch.valid_accuracy for epoch in history.epochs[-2:]]
        assert result.score[i] == pytest.approx(sum(last) / 2)
        assert result.extras["train_loss"][i] == history.epochs[-1].train_loss
        assert result.extras["parameters"][i] == sum(p.numel() for p in model.parameters())
    assert result.error == (None,) * 3
    assert (result.cost > 0).all()


def test_repeats_bit_for_bit_and_another_stream_differs():
    def scores(seed):
        result = trainer()(ARCHS, rngs=streams(seed=seed))
        return torch.cat([result.score, result.extras["train_loss"]])

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))


def test_the_test_accuracy_is_measured_only_on_request_and_changes_nothing_else():
    evaluator, data = trainer(test=True), stripes()
    result, without = evaluator(ARCHS, rngs=streams()), trainer()(ARCHS, rngs=streams())
    assert torch.equal(result.score, without.score)
    assert "test_accuracy" not in without.extras
    for i, rng in enumerate(streams()):
        with scoped(rng):
            model = small(ARCHS[i : i + 1], in_channels=1, num_classes=2)
        fit(model, data, evaluator.recipe, rng=rng, train=evaluator.train_index)
        with torch.no_grad():
            right = model(data.normalise(data.test_images)).argmax(dim=1) == data.test_labels
        assert result.extras["test_accuracy"][i] == pytest.approx(float(right.float().mean()))


def test_processor_seconds_do_not_count_waiting(monkeypatch):
    monkeypatch.setattr("time.perf_counter", map(float, range(0, 10**6, 100)).__next__)
    assert (trainer(clock="processor")(ARCHS, rngs=streams()).cost < 100).all()
    assert (trainer()(ARCHS, rngs=streams()).cost >= 100).all()


def test_low_data_takes_a_tenth_of_every_class():
    data = digits()
    evaluator = trainer(data=data, train_fraction=LOW_DATA)
    counts = data.train_labels.bincount()
    few = data.train_labels[evaluator.train_index].bincount()
    assert torch.equal(few, (counts.double() / 10).round().long())
    assert torch.equal(few + data.train_labels[evaluator.valid_index].bincount(), counts)
    most = trainer(data=data, train_fraction=EARLY_STOPPING)
    assert len(most.train_index) == pytest.approx(0.8 * len(data.train_labels), abs=5)


def test_the_split_has_its_own_seed():
    a, b, c = (trainer(split_seed=seed).train_index for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_test_images_change_nothing():
    data = stripes()
    rng = stream(9, "poison")
    poisoned = replace(
        data,
        test_images=torch.randint(256, data.test_images.shape, dtype=torch.uint8, generator=rng),
        test_labels=1 - data.test_labels,
    )
    a, b = (trainer(data=part)(ARCHS, rngs=streams()) for part in (data, poisoned))
    assert torch.equal(a.score, b.score)
    assert a.extras.keys() == b.extras.keys()
    for name in a.extras:
        assert torch.equal(a.extras[name], b.extras[name])


def test_learns_digits_from_a_tenth():
    result = trainer(data=digits(), recipe=DIGITS_RECIPE, train_fraction=LOW_DATA)(
        ARCHS[:1], rngs=streams(1)
    )
    assert result.score[0] > 0.6  # chance is 0.1


class NoNumber(SmallNetwork):
    def forward(self, images):
        return super().forward(images) * torch.nan


class Misfit(SmallNetwork):
    def forward(self, images):
        raise RuntimeError(f"{len(images)} shapes do not fit\nand more of it")


class Hungry(SmallNetwork):
    def forward(self, images):
        torch.empty(2**60)
        return super().forward(images)


class Starved(SmallNetwork):
    def forward(self, images):
        del images
        raise MemoryError


class Unbuildable(SmallNetwork):
    def __init__(self, *_):
        raise KeyError("conv7x7")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (NoNumber, r"loss became NaN in epoch 1"),
        (Misfit, r"RuntimeError: 6 shapes do not fit"),
        (Hungry, r"RuntimeError: .*memory.*"),
        (Starved, r"MemoryError: no message"),
        (Unbuildable, r"KeyError: 'conv7x7'"),
    ],
)
def test_a_network_that_cannot_run_is_a_failed_evaluation(network, reason):
    def second_fails(arch, *, in_channels, num_classes):
        if bool(arch.equal(ARCHS[1:2])):
            return network(in_channels, num_classes)
        return small(arch, in_channels=in_channels, num_classes=num_classes)

    result = trainer(second_fails)(ARCHS, rngs=streams())
    assert result.score.isnan().tolist() == [False, True, False]
    assert [error is None for error in result.error] == [True, False, True]
    assert re.fullmatch(reason, result.error[1])
    assert result.cost[1] > 0
    assert torch.equal(result.score[::2], trainer()(ARCHS, rngs=streams()).score[::2])


def test_an_interrupt_ends_the_program():
    class Interrupted(nn.Module):
        def __init__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(lambda *_, **__: Interrupted())(ARCHS, rngs=streams())


def test_threads_take_turns():
    evaluator = trainer()
    expected = evaluator(ARCHS, rngs=streams()).score
    got = [None] * 3

    def work(i):
        got[i] = evaluator(ARCHS[i : i + 1], rngs=streams()[i : i + 1]).score

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.cat(got), expected)


def test_travels_between_processes():
    evaluator = pickle.loads(pickle.dumps(trainer()))
    assert torch.equal(
        evaluator(ARCHS, rngs=streams()).score, trainer()(ARCHS, rngs=streams()).score
    )


def test_bad_shares_are_named():
    with pytest.raises(ValueError, match="between 0 and 1"):
        trainer(train_fraction=1.0)


def test_the_final_evaluator_trains_on_everything_and_tests():
    arch, data = Toy().sample(1, rng=stream(0, "arch")), stripes()
    result = finalist(data=data)(arch, rngs=[stream(0, "final")])
    whole = train(
        lambda: small(arch, in_channels=1, num_classes=2),
        data,
        RECIPE,
        rng=stream(0, "final"),
        device="cpu",
    )
    assert float(result.score) == pytest.approx(whole.test_accuracy)
    swapped = replace(data, test_labels=1 - data.test_labels)
    other = finalist(data=swapped)(arch, rngs=[stream(0, "final")])
    assert float(other.score) == pytest.approx(1 - whole.test_accuracy)


def test_a_final_training_that_fails_is_a_failed_evaluation():
    def broken(arch, *, in_channels, num_classes):  # noqa: ARG001 (the signature of a builder)
        raise RuntimeError("no such layer")

    arch = Toy().sample(1, rng=stream(0, "arch"))
    result = finalist(broken)(arch, rngs=[stream(0, "final")])
    assert result.score.isnan().all()
    assert result.error == ("RuntimeError: no such layer",)
