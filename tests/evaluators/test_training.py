import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from shutil import which

import pytest
import torch
from jaxtyping import TypeCheckError
from small import SmallNetwork, stripes
from torch import nn

from netwright.evaluators.training import (
    Epoch,
    History,
    Recipe,
    TrainingFailed,
    accuracy,
    cosine,
    fit,
    resolve_device,
    train,
)
from netwright.images.augment import crop_and_flip, cutout
from netwright.images.digits import digits
from netwright.rng import scoped, stream

SHORT = Recipe(epochs=4, batch_size=8, crop_padding=1, last_epochs=2)


def network(data, seed=0, **options):
    with scoped(stream(seed, "weights")):
        return SmallNetwork(data.channels, data.num_classes, **options)


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


class Linear(nn.Module):
    def __init__(self, data, dtype=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(data.num_classes, 36, generator=stream(0, "weights"), dtype=dtype)
        )

    def forward(self, images):
        return images.flatten(1).to(self.weight.dtype) @ self.weight.T


def test_cosine_goes_from_the_peak_to_zero():
    assert cosine(0, 10, 0.4) == 0.4
    assert cosine(5, 10, 0.4) == pytest.approx(0.2)
    assert cosine(10, 10, 0.4) == pytest.approx(0, abs=1e-16)
    assert cosine(1, 3, 1.0) == pytest.approx(0.75)
    assert cosine(2, 3, 1.0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.0},
        {"nesterov": True},
        {"weight_decay": 0.1},
        {"gradient_clip": 0.5},
        {"label_smoothing": 0.2},
        {"crop_padding": 2},
        {"flip": False},
        {"cutout": 3},
        {"cutout": 3, "cutout_chance": 0.5},
    ],
    ids=str,
)
def test_follows_the_recipe_step_by_step(changes):
    """Against SGD written out by hand on a linear model."""
    data = stripes(flips=True)
    recipe = replace(
        SHORT, **({"learning_rate": 0.05, "weight_decay": 0.01, "batch_size": 10} | changes)
    )
    model, by_hand = Linear(data), Linear(data)
    history = fit(model, data, recipe, rng=stream(1, "fit"))

    rng = stream(1, "fit")
    torch.randint(2**62, (), generator=rng)  # the seed of the global state
    weight, velocity, step, steps = by_hand.weight.detach(), None, 0, 4 * 3
    losses = []
    for _ in range(4):
        total = 0.0
        for batch in torch.randperm(24, generator=rng).split(8):  # 24 images in 3 equal batches
            images = crop_and_flip(
                data.train_images[batch], padding=recipe.crop_padding, flip=recipe.flip, rng=rng
            )
            chance = recipe.cutout_chance
            x = cutout(data.normalise(images), recipe.cutout, chance=chance, rng=rng)
            x = x.flatten(1).double()
            probability = (x @ weight.T).softmax(dim=1)
            target = torch.nn.functional.one_hot(data.train_labels[batch], 2).double()
            target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
            total += -float((target * probability.log()).sum())
            gradient = (probability - target).T @ x / 8
            if recipe.gradient_clip:
                gradient = gradient * min(1, recipe.gradient_clip / (float(gradient.norm()) + 1e-6))
            gradient = gradient + recipe.weight_decay * weight
            velocity = gradient if velocity is None else recipe.momentum * velocity + gradient
            ahead = gradient + recipe.momentum * velocity if recipe.nesterov else velocity
            rate = 0.05 / 2 * (1 + math.cos(math.pi * step / steps))
            weight, step = weight - rate * ahead, step + 1
        losses.append(total / 24)
    torch.testing.assert_close(model.weight.detach(), weight)
    torch.testing.assert_close([epoch.train_loss for epoch in history.epochs], losses)


def test_flips_only_where_the_data_allow_it():
    results = []
    for flips in (True, False):
        for flip in (True, False):
            data = replace(stripes(flips=flips))
            model = Linear(data)
            fit(model, data, replace(SHORT, flip=flip), rng=stream(1, "fit"))
            results.append(weights(model))
    assert not torch.equal(results[0], results[1])
    assert torch.equal(results[1], results[2])
    assert torch.equal(results[2], results[3])


def test_batches_cover_every_image_once_and_differ_by_one_at_most():
    data, seen = stripes(44), []

    class Spy(Linear):
        def forward(self, images):
            seen.append(images.clone())
            return super().forward(images)

    fit(Spy(data), data, Recipe(epochs=1, batch_size=6, crop_padding=0), rng=stream(0, "fit"))
    assert sorted(len(images) for images in seen) == [5, 5, 6, 6]
    shown = torch.cat(seen).flatten(1).sort(dim=0).values
    assert torch.equal(shown, data.normalise(data.train_images).flatten(1).sort(dim=0).values)


def test_a_seed_decides_bit_for_bit_and_the_global_state_is_untouched():
    data = stripes()
    index = torch.arange(24)
    runs = []
    before = torch.get_rng_state()
    for seed in (1, 1, 2):
        model = network(data)
        history = fit(
            model, data, SHORT, rng=stream(seed, "fit"), train=index[:16], valid=index[16:]
        )
        runs.append((weights(model), [epoch.train_loss for epoch in history.epochs]))
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not torch.equal(runs[0][0], runs[2][0])
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_draws_from_the_stream_too():
    class Dropped(Linear):
        def forward(self, images):
            return super().forward(nn.functional.dropout(images, 0.5, self.training))

    data = stripes()
    recipe = Recipe(epochs=1, batch_size=24, crop_padding=0)  # one batch of all: the order is moot
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + len(losses))  # must not matter
        history = fit(Dropped(data), data, recipe, rng=stream(seed, "fit"))
        losses.append(history.epochs[0].train_loss)
    assert losses[0] == losses[1] != losses[2]


def test_validates_the_epochs_that_count():
    data, index = stripes(), torch.arange(24)
    seen = []
    options = {"train": index[:12], "valid": index[12:], "on_epoch": seen.append}
    history = fit(network(data), data, SHORT, rng=stream(0, "fit"), **options)
    assert list(history.epochs) == seen
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    assert [epoch.valid_accuracy is None for epoch in seen] == [True, True, False, False]
    assert all(a.seconds < b.seconds for a, b in pairwise(seen))
    always = fit(network(data), data, SHORT, rng=stream(0, "fit"), validate_always=True, **options)
    assert all(epoch.valid_accuracy is not None for epoch in always.epochs)
    last = [epoch.valid_accuracy for epoch in history.epochs[-2:]]
    assert [epoch.valid_accuracy for epoch in always.epochs[-2:]] == last  # looking changes nothing
    assert history.mean_valid_accuracy(2) == sum(last) / 2


def test_mean_over_the_last_epochs():
    history = History(tuple(Epoch(i, 1.0, a, 1.0) for i, a in enumerate((None, 0.1, 0.2, 0.6), 1)))
    assert history.mean_valid_accuracy(1) == 0.6
    assert history.mean_valid_accuracy(3) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="last 4 epochs were not all validated"):
        history.mean_valid_accuracy(4)
    short = History((Epoch(1, 1.0, 0.5, 1.0),))
    assert short.mean_valid_accuracy(3) == 0.5


def test_accuracy_counts_right_answers_in_evaluation_mode():
    data = stripes()
    model = network(data)
    expected = model.eval()(data.normalise(data.test_images)).argmax(dim=1) == data.test_labels
    model.train()
    before = weights(model)
    got = accuracy(model, data, data.test_images, data.test_labels, batch_size=7)
    assert got == pytest.approx(float(expected.float().mean()))
    assert torch.equal(weights(model), before)  # batch normalisation has learnt nothing


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_no_numbers(bad):
    data = stripes()
    model = Linear(data)
    with torch.no_grad():
        model.weight[1, 3] = bad
    assert math.isnan(accuracy(model, data, data.test_images, data.test_labels))


def test_divergence_is_reported_with_its_epoch():
    data = stripes()
    with pytest.raises(TrainingFailed, match=r"^loss became (NaN|infinite) in epoch [1-4]$"):
        fit(Linear(data), data, replace(SHORT, learning_rate=1e300), rng=stream(0, "fit"))


def test_outputs_that_spoil_after_the_last_step_are_reported():
    class Spoilt(Linear):
        def forward(self, images):
            out = super().forward(images)
            return out if self.training else out * math.nan

    data, index = stripes(), torch.arange(24)
    with pytest.raises(TrainingFailed, match="outputs are not finite after epoch 3"):
        fit(Spoilt(data), data, SHORT, rng=stream(0, "fit"), train=index[:12], valid=index[12:])
    with pytest.raises(TrainingFailed, match="outputs are not finite"):
        train(lambda: Spoilt(data), data, SHORT, rng=stream(0, "fit"), device="cpu")


def test_full_training_learns_digits():
    data = digits()
    make = partial(SmallNetwork, data.channels, data.num_classes, width=12)
    recipe = Recipe(epochs=5, batch_size=64, crop_padding=1)
    seen = []
    trained = train(make, data, recipe, rng=stream(0, "train"), device="cpu", on_epoch=seen.append)
    assert trained.test_accuracy > 0.8  # chance is 0.1
    assert len(seen) == len(trained.history.epochs) == 5
    assert seen[-1].train_loss < seen[0].train_loss / 2
    assert not trained.model.training
    measured = accuracy(trained.model, data, data.test_images, data.test_labels)
    assert trained.test_accuracy == measured
    assert all(p.is_contiguous() for p in trained.model.parameters())


def test_full_training_repeats_bit_for_bit():
    data = stripes()
    make = partial(SmallNetwork, data.channels, data.num_classes)
    a, b, c = (train(make, data, SHORT, rng=stream(s, "t"), device="cpu") for s in (1, 1, 2))
    assert torch.equal(weights(a.model), weights(b.model))
    assert not torch.equal(weights(a.model), weights(c.model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"last_epochs": 0}, "last_epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"label_smoothing": 1.5}, "label_smoothing must lie in"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum"),
        ({"cutout": -1}, "cutout must be at least 0"),
        ({"cutout_chance": 1.5}, "cutout_chance must lie in"),
    ],
)
def test_bad_recipes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_an_unknown_precision_is_refused():
    with pytest.raises((ValueError, TypeCheckError), match="float16"):
        Recipe(precision="float16")


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            resolve_device("cuda")


def test_half_precision_in_training_and_in_validation():
    data, types = stripes(), []
    model = network(data)
    model.classifier.register_forward_hook(lambda _m, _i, out: types.append(out.dtype))
    recipe = replace(SHORT, precision="bfloat16", epochs=20)
    history = fit(model, data, recipe, rng=stream(0, "fit"), valid=torch.arange(24))
    assert set(types) == {torch.bfloat16}
    assert history.mean_valid_accuracy(2) > 0.9
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_images_are_shown_at_another_size():
    data = replace(stripes(), resize=12)
    images = data.normalise(data.train_images)
    assert tuple(images.shape) == (24, 1, 12, 12)
    small = replace(data, resize=3).normalise(data.train_images)
    expected = nn.functional.interpolate(
        replace(data, resize=0).normalise(data.train_images),
        (3, 3),
        mode="bilinear",
        antialias=True,
    )
    assert torch.equal(small, expected)
    sizes = []
    model = network(data)
    model.body[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(inputs[0].shape[-1]))
    fit(model, data, replace(SHORT, epochs=1), rng=stream(0, "fit"), valid=torch.arange(4))
    assert set(sizes) == {12}
    with pytest.raises(ValueError, match="resize must be at least 0"):
        replace(data, resize=-1)


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_learns_the_same():
    data, results = stripes(), []
    for compiled in (False, True):
        model = network(data)
        recipe = replace(SHORT, compile=compiled)
        model.body[6].p = 0.0  # dropout draws otherwise when compiled
        fit(model, data, recipe, rng=stream(0, "fit"), valid=torch.arange(24))
        assert not any(name.startswith("_orig") for name in model.state_dict())
        results.append(weights(model))
    torch.testing.assert_close(results[0], results[1], atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_on_a_gpu():
    data = stripes()
    make = partial(SmallNetwork, data.channels, data.num_classes)
    trained = train(make, data, replace(SHORT, epochs=20), rng=stream(0, "t"), device="cuda")
    assert next(trained.model.parameters()).is_cuda
    assert trained.test_accuracy > 0.9


def test_strided_convolutions_of_few_channels_do_not_end_the_process():
    """In torch 2.13, their gradient in channels-last form writes beyond its memory."""
    code = """
import torch
from torch import nn
from netwright.evaluators.training import Recipe, fit
from netwright.images.digits import digits
from netwright.rng import stream
for channels in (2, 6):
    model = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, stride=2, bias=False),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )
    recipe = Recipe(epochs=1, batch_size=15, crop_padding=1)
    fit(model, digits(), recipe, rng=stream(0, "fit"), train=torch.arange(600))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
