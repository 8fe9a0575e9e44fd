"""Expected improvement and batches: against sampling, BoTorch and processes conditioned anew."""

import math

import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.models.deterministic import DeterministicModel
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.rng import stream
from netwright.surrogates.acquisition import choose_batch, log_expected_improvement
from netwright.surrogates.gp import fit_gp
from netwright.surrogates.options import GPOptions

EXACT, SPARSE = GPOptions(), GPOptions(inducing=20)
KINDS = {"exact": EXACT, "sparse": SPARSE, "rbf": GPOptions(kernel="rbf")}


def double(*values):
    return torch.tensor(values, dtype=torch.double)


# Expected improvement


class Normal(DeterministicModel):
    """A model whose posterior at x is normal, with the mean x and a given standard deviation."""

    def __init__(self, sd):
        super().__init__()
        self._num_outputs, self.sd = 1, sd

    def forward(self, X):
        return X

    def posterior(self, X, **_):
        cover = (self.sd**2).expand(X.shape[0])[:, None, None]
        return GPyTorchPosterior(MultivariateNormal(X[..., 0], cover))


def botorchs(mean, sd, best):
    return LogExpectedImprovement(Normal(sd), best_f=best)(mean[:, None, None])


@pytest.mark.parametrize("sd", [1e-3, 1.0, 50.0])
def test_log_ei_is_botorchs_far_into_the_tails(sd):
    u = torch.cat([torch.linspace(-40, 40, 400), -torch.logspace(0, 7, 60)]).double()
    u = torch.cat([u, double(-1, -1 + 1e-12, -1 - 1e-12, -999.9, -1000.1, 0, -1e4, -1e5)])
    mean = 3 + sd * u
    mine = log_expected_improvement(mean, double(sd).expand(len(u)), 3.0)
    torch.testing.assert_close(mine, botorchs(mean, double(sd), 3.0), rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(
    mean=st.floats(-2, 2), sd=st.floats(0.3, 3), best=st.floats(-2, 2), seed=st.integers(0, 10**6)
)
def test_log_ei_is_what_sampling_gives(mean, sd, best, seed):
    draws = mean + sd * torch.randn(10**6, dtype=torch.double, generator=stream(seed, "draws"))
    gain = (draws - best).clamp(min=0)
    found = float(log_expected_improvement(double(mean), double(sd), best)[0].exp())
    # six standard errors; where there are hardly any hits, their own number is uncertain
    margin = 6 * float(gain.std()) / 1000 + 30 * sd / 10**6
    assert abs(found - float(gain.mean())) < margin


def test_log_ei_has_its_known_values():
    at = log_expected_improvement(double(0.0, 0.0, 7.0), double(1.0, 5.0, 1e-6), 0.0)
    phi = math.log(1 / math.sqrt(2 * math.pi))
    torch.testing.assert_close(at, double(phi, phi + math.log(5), math.log(7)))


@settings(deadline=None)
@given(
    mean=st.floats(-1e6, 1e6), step=st.floats(1e-3, 1e3), sd=st.floats(1e-6, 1e6),
    best=st.floats(-1e6, 1e6),
)  # fmt: skip
def test_log_ei_is_finite_and_grows_with_the_mean_and_so_do_its_gradients(mean, step, sd, best):
    means, sds = double(mean, mean + step).requires_grad_(), double(sd, sd).requires_grad_()
    value = log_expected_improvement(means, sds, best)
    of_mean, of_sd = torch.autograd.grad(value.sum(), (means, sds))
    for tensor in (value, of_mean, of_sd):
        assert bool(tensor.isfinite().all())
    low, high = value.tolist()
    assert high >= low - 1e-9 * abs(low)
    assert bool((of_mean > 0).all())
    assert bool((of_sd >= -1e-12 / sd).all()), "but for rounding"


def test_the_gradient_of_log_ei_is_that_of_finite_differences_on_both_sides_of_every_seam():
    u = double(-1500, -1000.5, -999.5, -50, -1.001, -0.999, 0, 3, 20).requires_grad_()
    sd = torch.ones(len(u), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, s: log_expected_improvement(m, s, 0.0), (u, sd), rtol=1e-3
    )


# Batches


def process(options=EXACT, n=40, *, size=2, seed=0):
    """A process fitted to a smooth function, with its data."""
    rng = stream(seed, "points")
    x = 2 * torch.rand(n, size, dtype=torch.double, generator=rng)
    y = 5 + torch.sin(3 * x).sum(dim=1)
    y = y + 0.1 * torch.randn(n, dtype=torch.double, generator=rng)
    return fit_gp(x, y, options, rng=stream(seed, "fit")), x, y


def places(n, *, size=2, seed=0):
    return 2 * torch.rand(n, size, dtype=torch.double, generator=stream(seed, "places"))


def moments(gp, new, extra):
    """Mean and sd at new points, once points in ``extra`` are known to score their mean.

    Straight from the joint posterior of both, conditioned on noisy observations.
    """
    with torch.no_grad():
        at = gp.features(torch.cat([extra, new]))
        mean, cover = gp.mean(at), gp.covariance(at, at)
    k = len(extra)
    noisy = cover[:k, :k] + gp.noise_variance * torch.eye(k, dtype=torch.double)
    left = cover[k:, k:] - cover[k:, :k] @ torch.linalg.solve(noisy, cover[:k, k:])
    told = mean[k:] + cover[k:, :k] @ torch.linalg.solve(noisy, mean[:k] - mean[:k])
    return told, left.diagonal().sqrt()


def given_more(gp, x, y, extra, new):
    """Mean and sd of an exact process with the same kernel that was given more points."""
    scale = gp.kernel.base_kernel.lengthscale[0] * gp.spread

    def k(a, b):
        s = math.sqrt(5) * (a[:, None] / scale - b[None] / scale).square().sum(dim=2).sqrt()
        shape = (1 + s + s.square() / 3) * torch.exp(-s)
        return gp.unit**2 * gp.kernel.outputscale * shape

    level = gp.centre + gp.unit * gp.constant
    both = torch.cat([x, extra])
    scores = torch.cat([y, gp.predict(extra)[0]])
    gram = k(both, both) + gp.noise_variance * torch.eye(len(both))
    cross = k(both, new)
    mean = level + cross.T @ torch.linalg.solve(gram, scores - level)
    variance = k(new, new).diagonal() - (cross * torch.linalg.solve(gram, cross)).sum(dim=0)
    return mean, variance.sqrt()


def test_fantasies_are_a_process_that_was_given_those_points():
    gp, x, y = process()
    extra, new = places(6, seed=1), places(50, seed=2)
    mean, sd = given_more(gp, x, y, extra, new)
    torch.testing.assert_close(mean, gp.predict(new)[0])  # the mean stays as it is
    torch.testing.assert_close(sd, moments(gp, new, extra)[1], rtol=1e-5, atol=1e-7)
    assert float((gp.predict(new)[1] - sd).max()) > 0.2 * float(gp.predict(new)[1].max())
    best = float(y.max())
    value = botorch_values(mean, sd, best)
    chosen = choose_batch(gp, new, 50, best=best, pending=extra)
    assert int(chosen.index[0]) == int(value.argmax())


def botorch_values(mean, sd, best):
    return torch.cat([botorchs(m[None], s, best) for m, s in zip(mean, sd, strict=True)])


@pytest.mark.parametrize("pending", [0, 3])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_batch_is_what_conditioning_anew_for_every_point_gives(options, pending):
    gp, _, y = process(options)
    best, waiting = float(y.max()) - 0.3, places(pending, seed=3)
    candidates = places(60, seed=1)
    found = choose_batch(gp, candidates, 12, best=best, pending=waiting if pending else None)
    wanted, known, free = [], waiting, torch.ones(60, dtype=torch.bool)
    for _ in range(12):
        mean, sd = moments(gp, candidates, known)
        value = log_expected_improvement(mean, sd, best).masked_fill(~free, -math.inf)
        wanted.append(int(value.argmax()))
        free[wanted[-1]] = False
        known = torch.cat([known, candidates[wanted[-1]][None]])
    assert found.index.tolist() == wanted
    assert torch.equal(found.points, candidates[found.index])
    with torch.no_grad():
        alone = log_expected_improvement(*gp.predict(candidates), best)
    assert (wanted[0] == int(alone.argmax())) or pending
    assert wanted != alone.argsort(descending=True)[:12].tolist(), "fantasies make a difference"


def test_no_point_is_chosen_twice_although_another_stands_at_the_same_place():
    gp, _, y = process()
    candidates = places(4, seed=1).repeat(3, 1)
    found = choose_batch(gp, candidates, 12, best=float(y.max()))
    assert sorted(found.index.tolist()) == list(range(12))
    assert len({tuple(point) for point in found.points[:4].tolist()}) > 1


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_neighbour_of_a_point_that_is_being_evaluated_is_left_alone(options):
    gp, _, _ = process(options)
    grid = torch.linspace(-2, 4, 25, dtype=torch.double)
    candidates = torch.cartesian_prod(grid, grid)
    best = float(gp.predict(candidates)[0].max()) + 1  # so that it is uncertainty that counts
    alone = choose_batch(gp, candidates, 1, best=best).points
    near = alone + 1e-3
    other = choose_batch(gp, candidates, 1, best=best, pending=near).points
    assert float((other - alone).norm()) > 0.5
    far = choose_batch(gp, candidates, 1, best=best, pending=torch.full_like(alone, 1e3)).points
    assert torch.equal(far, alone)


def test_fewer_candidates_than_wanted_are_all_chosen():
    gp, _, y = process()
    assert sorted(choose_batch(gp, places(3), 5, best=float(y.max())).index.tolist()) == [0, 1, 2]
    for n, count in ((0, 5), (3, 0)):
        found = choose_batch(gp, places(n), count, best=0.0)
        assert (found.points.shape, found.index.shape) == ((0, 2), (0,))


def test_single_precision_and_units_of_scores_make_no_difference():
    gp, x, y = process()
    best, candidates = float(y.max()), places(50, seed=1)
    wanted = choose_batch(gp, candidates, 6, best=best).index
    assert torch.equal(choose_batch(gp, candidates.float(), 6, best=best).index, wanted)
    other = fit_gp(x, 1000 * y - 7, EXACT, rng=stream(0, "fit"))
    assert torch.equal(choose_batch(other, candidates, 6, best=1000 * best - 7).index, wanted)


# L-BFGS


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_lbfgs_never_lowers_the_value_and_stays_within_bounds(options):
    gp, _, y = process(options)
    best, candidates = float(y.max()), places(30, seed=1)
    low, high = double(0.2, 0.0), double(1.9, 2.0)
    inside = candidates[((candidates >= low) & (candidates <= high)).all(dim=1)]
    found = choose_batch(gp, inside, 6, best=best, iterations=50, bounds=(low, high))
    assert bool(((found.points >= low) & (found.points <= high)).all())
    gained = []
    for i in range(6):
        both = torch.stack([found.points[i], inside[found.index[i]]])
        mean, sd = moments(gp, both, found.points[:i])
        after, before = log_expected_improvement(mean, sd, best).tolist()
        gained.append(after - before)
    assert min(gained) > -1e-9
    assert max(gained) > 0.01


def test_lbfgs_finds_what_a_fine_grid_finds():
    gp, _, y = process()
    grid = torch.linspace(0, 2, 81, dtype=torch.double)
    fine, best = torch.cartesian_prod(grid, grid), float(y.max())
    bounds = (double(0.0, 0.0), double(2.0, 2.0))
    (point,) = choose_batch(
        gp, places(100, seed=1), 1, best=best, iterations=100, bounds=bounds
    ).points
    reached = log_expected_improvement(*gp.predict(point[None]), best)
    assert float(reached) > float(log_expected_improvement(*gp.predict(fine), best).max()) - 1e-3


def test_lbfgs_starts_at_the_bounds_from_a_point_beyond_them():
    gp, _, y = process()
    low, high = double(0.5, 0.5), double(0.6, 0.6)
    found = choose_batch(
        gp, places(30), 5, best=float(y.max()), iterations=20, bounds=(low, high)
    ).points
    assert bool(((found >= low) & (found <= high)).all())


def test_lbfgs_needs_bounds():
    gp, _, _ = process()
    with pytest.raises(ValueError, match="L-BFGS needs bounds"):
        choose_batch(gp, places(3), 1, best=0.0, iterations=5)


# A known answer


def peaks(x):
    """A high and a low peak on the unit square; the highest value is 1.0034, near (0.7, 0.3)."""
    high, low = (x - double(0.7, 0.3)).square(), (x - double(0.2, 0.8)).square()
    return torch.exp(-high.sum(dim=1) / 0.1) + 0.5 * torch.exp(-low.sum(dim=1) / 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("iterations", "seeds"), [(0, 6), (15, 2)])
def test_a_smooth_function_is_maximised_where_random_points_are_not(iterations, seeds):
    top, reached = 1.0034, []
    for seed in range(seeds):
        rng = stream(seed, "search")
        x = torch.rand(8, 2, dtype=torch.double, generator=rng)
        bounds = (double(0.0, 0.0), double(1.0, 1.0))
        for _ in range(6):
            gp = fit_gp(x, peaks(x), rng=rng)
            best = float(gp.predict(x)[0].max())
            pool = torch.rand(400, 2, dtype=torch.double, generator=rng)
            found = choose_batch(gp, pool, 5, best=best, iterations=iterations, bounds=bounds)
            x = torch.cat([x, found.points])
        assert len(x) == 38
        reached.append(float(peaks(x).max()))
    random = peaks(torch.rand(100 * 38, 2, dtype=torch.double, generator=stream(0, "random")))
    assert min(reached) > 0.99 * top
    assert float(random.view(100, 38).amax(dim=1).mean()) < 0.94 * top
