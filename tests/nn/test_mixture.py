from itertools import product

import pytest
import torch

from netwright.nn.mixture import BernoulliMixture, MixtureHead
from netwright.rng import scoped, stream

FREE = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
EVERYTHING = torch.tensor(list(product([False, True], repeat=3)))


def _mixture(seed=0, batch=3, edges=3, components=4):
    rng = stream(seed, "mixture")
    alpha = torch.randn(batch, components, generator=rng, dtype=torch.float64)
    theta = 2 * torch.randn(batch, edges, components, generator=rng, dtype=torch.float64)
    return BernoulliMixture(alpha, theta, FREE)


def _by_hand(mixture, b, edges):
    """The formula, term by term."""
    total = 0.0
    weights = torch.exp(mixture.alpha[b]) / torch.exp(mixture.alpha[b]).sum()
    for k, weight in enumerate(weights.tolist()):
        term = weight
        for j, edge in enumerate(edges):
            if mixture.free[b, j]:
                theta = 1 / (1 + torch.exp(-mixture.theta[b, j, k]).item())
                term *= theta if edge else 1 - theta
        total += term
    return total


def test_log_prob_is_the_formula():
    mixture = _mixture()
    for edges in EVERYTHING:
        got = mixture.log_prob(edges.expand(3, 3)).exp()
        for b in range(3):
            assert abs(got[b].item() - _by_hand(mixture, b, edges.tolist())) < 1e-9


def test_probabilities_of_the_free_edges_sum_to_one():
    total = sum(_mixture().log_prob(edges.expand(3, 3)).exp() for edges in EVERYTHING)
    copies = 2.0 ** (~FREE).sum(dim=1)  # an edge that is not free does not change the likelihood
    assert torch.allclose(total, copies.double())


def test_samples_follow_log_prob():
    n = 20_000
    mixture = _mixture()
    many = BernoulliMixture(
        mixture.alpha.repeat_interleave(n, dim=0),
        mixture.theta.repeat_interleave(n, dim=0),
        FREE.repeat_interleave(n, dim=0),
    )
    drawn = many.sample(rng=stream(0, "draw")).view(3, n, 3)
    assert not (drawn & ~FREE[:, None]).any()
    for b in range(3):
        for edges in EVERYTHING[~(EVERYTHING & ~FREE[b]).any(dim=1)]:
            share = (drawn[b] == edges).all(dim=1).double().mean()
            expected = mixture.log_prob(edges.expand(3, 3))[b].exp()
            assert abs(share - expected) < 4 * (expected * (1 - expected) / n) ** 0.5 + 1e-12


def test_extreme_logits_stay_finite():
    theta = torch.tensor([[[300.0], [-300.0]]], requires_grad=True)
    alpha = torch.zeros(1, 1, requires_grad=True)
    mixture = BernoulliMixture(alpha, theta, torch.tensor([[True, True]]))
    unlikely = mixture.log_prob(torch.tensor([[False, True]]))
    assert unlikely.item() == -600
    unlikely.sum().backward()
    assert theta.grad.isfinite().all()
    assert alpha.grad.isfinite().all()


def _head(**options):
    with scoped(stream(0, "head")):
        return MixtureHead(5, 6, 3, **options)


def _perceptron(head, half, last, x):
    """Its layers one after the other; ``half`` says which part of the first layer it has."""
    x = (x @ head.first.weight[0] + head.first.bias[0])[6 * half : 6 * half + 6].relu()
    for layer in (head.alpha_middle, head.theta_middle)[half]:
        x = (x @ layer.weight[0] + layer.bias[0]).relu()
    return x @ last.weight[0] + last.bias[0]


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_head_is_equations_4_and_6(layers, pooling):
    head = _head(layers=layers, pooling=pooling)
    states = torch.randn(7, 5, generator=stream(0, "states"))
    new, candidates = torch.tensor([2, 6]), torch.tensor([[0, 1, 2], [3, 4, 5]])
    exists = torch.tensor([[True, True, False], [True, True, True]])
    got_alpha, got_theta = head(states, new, candidates, exists)
    for b in range(2):
        pairs = list(states[new[b]] - states[candidates[b][exists[b]]])
        theta = torch.stack([_perceptron(head, 1, head.theta, pair) for pair in pairs])
        torch.testing.assert_close(got_theta[b][exists[b]], theta, atol=1e-5, rtol=1e-5)
        if pooling == "mean":
            pairs.append(torch.zeros(5))  # the new node and itself
        alpha = sum(_perceptron(head, 0, head.alpha, pair) for pair in pairs)
        alpha = alpha / len(pairs) if pooling == "mean" else alpha
        torch.testing.assert_close(got_alpha[b], alpha, atol=1e-5, rtol=1e-5)


def test_probability_of_an_edge_is_the_sum_over_vectors_that_have_it():
    mixture = _mixture()
    for j in range(3):
        total = sum(mixture.log_prob(edges.expand(3, 3)).exp() for edges in EVERYTHING if edges[j])
        copies = 2.0 ** (~FREE).sum(dim=1).double()
        expected = torch.where(FREE[:, j], total / copies, torch.zeros(3).double())
        torch.testing.assert_close(mixture.probability()[:, j], expected)
