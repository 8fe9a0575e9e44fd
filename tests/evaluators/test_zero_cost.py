"""Zero-cost scores, each on networks small enough for pencil and paper."""

import math
import pickle

import pytest
import torch
from small import small, stripes
from torch import nn

from netwright.evaluators import zero_cost
from netwright.evaluators.zero_cost import ZeroCostEvaluator
from netwright.networks.cost import count_parameters
from netwright.rng import scoped, stream
from netwright.spaces.toy import Toy
from netwright.testing.evaluators import EVALUATOR_CHECKS

SPACE = Toy()
ARCHS = SPACE.sample(3, rng=stream(0, "architectures"))


def scorer(score, build=small, **options):
    return ZeroCostEvaluator(build, stripes(), score, batch_size=8, device="cpu", **options)


def streams(n=3, seed=0):
    return [stream(seed, f"evaluation/{i}") for i in range(n)]


def linear(weights):
    """A linear layer of these weights, without bias."""
    weights = torch.tensor(weights)
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight.data = weights
    return layer


def convolution(weights):
    """A 1 x 1 convolution of these weights (outputs by inputs), without bias."""
    weights = torch.tensor(weights)[:, :, None, None]
    layer = nn.Conv2d(weights.shape[1], weights.shape[0], 1, bias=False)
    layer.weight.data = weights
    return layer


def images(rows):
    """Images of one channel, a row of pixels each."""
    return torch.tensor(rows)[:, None, None, :]


# Losses: two images of two pixels, softmax regression

PIXELS = images([[1.0, 2.0], [3.0, -1.0]])
LABELS = torch.tensor([0, 1])
WEIGHTS = [[0.5, -1.0], [0.25, 2.0]]


def residuals(logits):
    """The loss gradient of the logits: (softmax - one-hot) / number of images."""
    rows = []
    for values, label in zip(logits, LABELS.tolist(), strict=True):
        total = sum(math.exp(v) for v in values)
        rows.append(
            [(math.exp(v) / total - (c == label)) / len(logits) for c, v in enumerate(values)]
        )
    return rows


def by_hand():
    """Logits, their gradients, and the gradient of the weights."""
    pixels = PIXELS.flatten(1).tolist()
    logits = [[sum(w * x for w, x in zip(ws, xs, strict=True)) for ws in WEIGHTS] for xs in pixels]
    left = residuals(logits)
    gradient = [
        [sum(left[n][c] * pixels[n][i] for n in range(2)) for i in range(2)] for c in range(2)
    ]
    return logits, left, gradient


def regression():
    return nn.Sequential(nn.Flatten(), linear(WEIGHTS))


def test_grad_norm_by_hand():
    _, _, gradient = by_hand()
    expected = math.sqrt(sum(g**2 for row in gradient for g in row))
    assert zero_cost.grad_norm(regression(), PIXELS, LABELS) == pytest.approx(expected)


def test_grad_norm_adds_layers_not_squares():
    model = nn.Sequential(nn.Flatten(), linear([[1.0, 0.0], [0.0, 1.0]]), linear(WEIGHTS))
    zero_cost._loss(model, PIXELS, LABELS).backward()
    expected = sum(float(layer.weight.grad.norm()) for layer in model[1:])
    assert zero_cost.grad_norm(model, PIXELS, LABELS) == pytest.approx(expected)


def test_snip_by_hand():
    _, _, gradient = by_hand()
    expected = sum(
        abs(w * g)
        for ws, gs in zip(WEIGHTS, gradient, strict=True)
        for w, g in zip(ws, gs, strict=True)
    )
    assert zero_cost.snip(regression(), PIXELS, LABELS) == pytest.approx(expected)


def test_fisher_by_hand():
    logits, left, _ = by_hand()
    products = [[z * g for z, g in zip(*rows, strict=True)] for rows in zip(logits, left)]  # noqa: B905
    expected = sum((products[0][c] ** 2 + products[1][c] ** 2) / 2 for c in range(2)) / 2
    assert zero_cost.fisher(regression(), PIXELS, LABELS) == pytest.approx(expected)


def test_fisher_adds_over_a_channel_before_it_squares():
    """A convolution without effect before the regression has the pixels as its outputs."""
    model = nn.Sequential(convolution([[1.0]]), nn.ReLU(inplace=True), *regression())
    pixels = PIXELS.abs()  # the ReLU, which works in place, changes nothing
    logits = [[sum(a * b for a, b in zip(w, x, strict=True)) for w in WEIGHTS]
              for x in pixels.flatten(1).tolist()]  # fmt: skip
    left = residuals(logits)
    back = torch.tensor(left) @ torch.tensor(WEIGHTS)  # gradient of the pixels
    convolved = (pixels.flatten(1) * back).sum(dim=1).square().mean() / 2
    last = (torch.tensor(logits) * torch.tensor(left)).square().mean(dim=0).sum() / 2
    found = zero_cost.fisher(model, pixels, LABELS)
    assert found == pytest.approx(float(convolved + last))


def test_fisher_sees_outputs_as_they_were():
    """Before an activation that works in place."""
    found = [
        zero_cost.fisher(
            nn.Sequential(convolution([[1.0]]), nn.ELU(inplace=inplace), *regression()),
            PIXELS,
            LABELS,
        )
        for inplace in (False, True)
    ]
    assert found[1] == pytest.approx(found[0])


# SynFlow


def test_synflow_of_a_chain_is_the_product_of_its_weights_once_for_each_layer():
    chain = [convolution([[-2.0]]), nn.ReLU(), nn.Flatten(), linear([[3.0]])]
    found = zero_cost.synflow(nn.Sequential(*chain), (1, 1, 1))
    assert found == pytest.approx(math.log1p(2 * 6.0))


def test_synflow_adds_paths():
    model = nn.Sequential(
        convolution([[1.0], [-2.0]]), nn.Flatten(), linear([[3.0, 4.0], [-5.0, 6.0]])
    )
    paths = 1 * 3 + 2 * 4 + 1 * 5 + 2 * 6
    assert zero_cost.synflow(model, (1, 1, 1)) == pytest.approx(math.log1p(2 * paths))


def test_synflow_sees_no_normalisation():
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(7.0)
    norm.weight.data.fill_(100.0)
    chain = [convolution([[-2.0]]), norm, nn.Flatten(), linear([[3.0]])]
    assert zero_cost.synflow(nn.Sequential(*chain), (1, 1, 1)) == pytest.approx(math.log1p(12.0))


def test_synflow_of_an_activation_in_place_changes_nothing_else():
    """What the absent normalisation passes on is not what came in, which others may use."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = convolution([[-2.0]]), nn.BatchNorm2d(1)
            self.shift = nn.Parameter(torch.tensor([[[[-5.0]]]]))
            self.activation, self.last = nn.ReLU(inplace=True), linear([[3.0]])

        def forward(self, pixels):
            self.activation(self.norm(self.shift.expand_as(pixels)))  # a view of a parameter
            return self.last(self.first(pixels).flatten(1))

    assert zero_cost.synflow(Both(), (1, 1, 1)) == pytest.approx(math.log1p(12.0))


def test_synflow_counts_biases_as_flow():
    last = nn.Linear(1, 1)
    last.weight.data.fill_(3.0)
    last.bias.data.fill_(-9.0)  # adds 9 to the output, but no weight's gradient
    first = nn.Conv2d(1, 1, 1)
    first.weight.data.fill_(2.0)
    first.bias.data.fill_(-1.0)  # flows on through the last weight: 3 * (2 + 1) + 3 * 2
    model = nn.Sequential(first, nn.Flatten(), last)
    assert zero_cost.synflow(model, (1, 1, 1)) == pytest.approx(math.log1p(15.0))


# NASWOT and the Jacobian's correlations


def test_naswot_by_hand():
    pixels = images([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    model = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True))
    # Agreements of the three codes 111, 101 and 010:
    #   3 2 1
    #   2 3 0
    #   1 0 3   with determinant 3 * 9 - 2 * 6 - 3 = 12
    found = zero_cost.naswot(model, pixels, torch.zeros(3, dtype=torch.long))
    assert found == pytest.approx(math.log(12.0))


def test_naswot_adds_the_kernels_of_all_activations():
    pixels = images([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.ReLU())
    found = zero_cost.naswot(model, pixels, torch.zeros(3, dtype=torch.long))
    assert found == pytest.approx(math.log(2**3 * 12.0))


class Squares(nn.Module):
    """Logits whose Jacobian is twice the image."""

    def forward(self, pixels):
        return pixels.flatten(1).square()


def test_jacob_cov_by_hand():
    pixels = images([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])  # correlated by 1/2
    k = 1e-5
    expected = -sum(math.log(v + k) + 1 / (v + k) for v in (0.5, 1.5))
    found = zero_cost.jacob_cov(Squares(), pixels, LABELS)
    assert found == pytest.approx(expected)


def test_jacob_cov_of_equal_images_is_bad():
    pixels = images([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    assert zero_cost.jacob_cov(Squares(), pixels, LABELS) < -0.9e5


# The evaluator


@pytest.mark.parametrize("check", EVALUATOR_CHECKS.values(), ids=EVALUATOR_CHECKS.keys())
@pytest.mark.parametrize("score", ["fisher", "synflow", "naswot", "jacob_cov"])
def test_contract(score, check):
    check(lambda: scorer(score), SPACE)


@pytest.mark.parametrize("score", list(zero_cost.SCORES))
def test_the_score_is_that_of_the_drawn_network_on_the_same_images(score):
    evaluator, data = scorer(score), stripes()
    result = evaluator(ARCHS, rngs=streams())
    for i, rng in enumerate(streams()):
        with scoped(rng):
            model = small(ARCHS[i : i + 1], in_channels=1, num_classes=2).train()
            pixels = data.normalise(data.train_images[evaluator.index])
            found = zero_cost.SCORES[score](model, pixels, data.train_labels[evaluator.index])
        assert float(result.score[i]) == pytest.approx(found)
        assert result.extras["parameters"][i] == count_parameters(model)
    assert result.error == (None,) * 3


def test_costs_are_counted():
    assert torch.equal(
        scorer("parameters")(ARCHS, rngs=streams()).score.double(),
        scorer("naswot")(ARCHS, rngs=streams()).extras["parameters"],
    )
    width = 4 + ARCHS.ops.sum(dim=1)
    flops = 36 * 9 * width + 9 * 9 * width * 2 * width + 8 * width * 2
    assert scorer("flops")(ARCHS, rngs=streams()).score.tolist() == flops.tolist()


def test_another_batch_or_stream_gives_another_score():
    def score(seed=0, **options):
        return scorer("snip", **options)(ARCHS, rngs=streams(seed=seed)).score

    assert torch.equal(score(), score())
    assert not torch.equal(score(), score(1))
    assert not torch.equal(score(), score(batch_seed=1))


def test_images_are_of_the_training_part():
    data = stripes()
    data.test_images.fill_(255)
    assert len(scorer("snip").index) == 8
    everything = ZeroCostEvaluator(small, data, "snip", batch_size=1000)
    assert sorted(everything.index.tolist()) == list(range(len(data.train_labels)))


def linear_network(arch, *, in_channels, num_classes):
    """A network without a ReLU."""
    del arch
    return nn.Sequential(nn.Flatten(), nn.Linear(36 * in_channels, num_classes))


def broken(arch, *, in_channels, num_classes):
    """A network that does not take images."""
    del arch, in_channels
    return nn.Linear(3, num_classes)


def test_failures_are_data_with_a_reason():
    result = scorer("naswot", linear_network)(ARCHS[:1], rngs=streams(1))
    assert result.score.isnan().all()
    assert result.error == ("naswot is -inf",)
    result = scorer("snip", broken)(ARCHS[:1], rngs=streams(1))
    assert result.error[0].startswith("RuntimeError: mat1 and mat2 shapes")


def test_another_process_can_have_it():
    again = pickle.loads(pickle.dumps(scorer("synflow")))
    assert torch.equal(
        again(ARCHS, rngs=streams()).score, scorer("synflow")(ARCHS, rngs=streams()).score
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "magic"}, "unknown zero-cost score 'magic': use one of parameters, flops"),
        ({"batch_size": 1}, "a batch needs at least 2 images, not 1"),
    ],
    ids=["score", "batch"],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        ZeroCostEvaluator(small, stripes(), **options)
