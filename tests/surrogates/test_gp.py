"""Gaussian processes: against GPyTorch, the textbook's formulas and processes that are known."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import gpytorch
import pytest
import torch
from botorch.models import SingleTaskGP
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import netwright.surrogates.gp
from netwright.rng import stream
from netwright.surrogates.gp import _AT_ONCE, GaussianProcess, _sparse, fit_gp
from netwright.surrogates.options import GPOptions

KINDS = {
    "matern": GPOptions(),
    "rbf": GPOptions(kernel="rbf"),
    "matern, ard": GPOptions(ard=True),
    "sparse": GPOptions(inducing=25),
    "sparse, rbf, ard": GPOptions(kernel="rbf", ard=True, inducing=25),
}
EXACT = {name: options for name, options in KINDS.items() if options.inducing is None}
SPARSE = {name: options for name, options in KINDS.items() if options.inducing is not None}


def hills(x):
    """A smooth function of three coordinates, far from standardised."""
    return 90 + 5 * (torch.sin(2 * x[:, 0]) + x[:, 1] ** 2 - x[:, 1] * x[:, 2])


def data(n=80, *, size=3, seed=0, noise=0.3):
    """Points off the origin, in units of their own, with noisy scores."""
    rng = stream(seed, "data")
    x = torch.randn(n, size, dtype=torch.double, generator=rng)
    eps = torch.randn(n, dtype=torch.double, generator=rng)
    return 7 + 0.2 * x, hills(x) + noise * eps


def fitted(options, *, x=None, y=None, seed=0):
    if x is None:
        x, y = data()
    return fit_gp(x, y, options, rng=stream(seed, "fit"))


def covariance(gp: GaussianProcess, a, b):
    """The fitted kernel, written out: [Rasmussen2006] equations 4.9 and 4.17."""
    gap = (a[:, None] - b[None]) / gp.spread / gp.kernel.base_kernel.lengthscale[0]
    r = gap.square().sum(dim=2).sqrt()
    if isinstance(gp.kernel.base_kernel, gpytorch.kernels.RBFKernel):
        shape = torch.exp(-r.square() / 2)
    else:
        s = math.sqrt(5) * r
        shape = (1 + s + s.square() / 3) * torch.exp(-s)
    return gp.unit**2 * gp.kernel.outputscale * shape


def known_parts(gp, y):
    """Noise variance and centred scores, in units of the scores."""
    return gp.unit**2 * gp.noise, y - gp.centre - gp.unit * gp.constant


def posterior(gp, x):
    with torch.no_grad():
        at = gp.features(x)
        return gp.mean(at), gp.variance(at), gp.covariance(at, at)


# The posterior, at the same hyperparameters


@pytest.mark.parametrize("options", EXACT.values(), ids=EXACT)
def test_exact_is_gpytorchs_own_posterior(options):
    (x, y), new = data(), data(30, seed=1)[0]
    gp = fitted(options)
    scaled, target = (x - gp.shift) / gp.spread, (y - gp.centre) / gp.unit
    model = SingleTaskGP(
        scaled,
        target[:, None],
        likelihood=gpytorch.likelihoods.GaussianLikelihood().double(),
        covar_module=gp.kernel,
        outcome_transform=None,
    )
    model.likelihood.noise, model.mean_module.constant = gp.noise, gp.constant
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        theirs = model.posterior((new - gp.shift) / gp.spread)
        wanted = (
            gp.centre + gp.unit * theirs.mean[:, 0],
            gp.unit**2 * theirs.variance[:, 0],
            gp.unit**2 * theirs.distribution.covariance_matrix,
        )
    for mine, other in zip(posterior(gp, new), wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", EXACT.values(), ids=EXACT)
def test_exact_is_the_textbooks_formula(options):
    (x, y), new = data(), data(30, seed=1)[0]
    gp = fitted(options)
    noise, centred = known_parts(gp, y)
    gram = covariance(gp, x, x) + noise * torch.eye(len(x))
    cross = covariance(gp, x, new)
    mean = gp.centre + gp.unit * gp.constant + cross.T @ torch.linalg.solve(gram, centred)
    left = covariance(gp, new, new) - cross.T @ torch.linalg.solve(gram, cross)
    for mine, other in zip(posterior(gp, new), (mean, left.diagonal(), left), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", SPARSE.values(), ids=SPARSE)
def test_sparse_is_the_optimal_posterior_of_titsias(options):
    (x, y), new = data(), data(30, seed=1)[0]
    gp = fitted(options)
    anchors = gp.anchors * gp.spread + gp.shift
    assert len(anchors) == 25
    assert bool((torch.cdist(anchors, x).amin(dim=1) < 1e-6).all()), "inducing points are points"
    noise, centred = known_parts(gp, y)
    # the jitter is part of the model: it belongs to the inducing variables
    jitter = 1e-6 * gp.unit**2 * float(gp.kernel.outputscale)
    k_mm = covariance(gp, anchors, anchors) + jitter * torch.eye(len(anchors))
    k_mn, k_ms = covariance(gp, anchors, x), covariance(gp, anchors, new)
    inner = k_mm + k_mn @ k_mn.T / noise
    mean = gp.centre + gp.unit * gp.constant
    mean = mean + k_ms.T @ torch.linalg.solve(inner, k_mn @ centred) / noise
    explained = torch.linalg.solve(k_mm, k_ms) - torch.linalg.solve(inner, k_ms)
    left = covariance(gp, new, new) - k_ms.T @ explained
    for mine, other in zip(posterior(gp, new), (mean, left.diagonal(), left), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["matern", "rbf"])
def test_sparse_with_all_points_as_inducing_points_is_exact(kernel):
    (x, y), new = data(), data(30, seed=1)[0]
    exact = fitted(GPOptions(kernel=kernel))
    scaled, target = (x - exact.shift) / exact.spread, (y - exact.centre) / exact.unit
    with torch.no_grad():
        parts = _sparse(exact.kernel, scaled, scaled, target - exact.constant, exact.noise)
    sparse = replace(
        exact, **dict(zip(("anchors", "root", "inner", "weights"), parts, strict=True))
    )
    for mine, other in zip(posterior(sparse, new), posterior(exact, new), strict=True):
        # but for the jitter, a thousandth of the noise
        torch.testing.assert_close(mine, other, rtol=0.01, atol=0.005 * float(y.std()))


def test_as_many_inducing_points_as_points_are_exact_and_fewer_are_sparse():
    assert fitted(GPOptions(inducing=80)).inner is None
    assert fitted(GPOptions(inducing=79)).inner is not None


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_covariance_between_two_sets_is_a_block_of_that_of_both(options):
    gp, new = fitted(options), data(12, seed=1)[0]
    with torch.no_grad():
        block = gp.covariance(gp.features(new[:5]), gp.features(new[5:]))
    mean, variance, whole = posterior(gp, new)
    torch.testing.assert_close(block, whole[:5, 5:])
    torch.testing.assert_close(variance, whole.diagonal())
    assert float(torch.linalg.eigvalsh(whole).min()) > -1e-6 * gp.unit**2
    assert mean.shape == (12,)


# What it learns


@pytest.mark.parametrize("options", [*EXACT.values(), GPOptions(inducing=100)],
                         ids=[*EXACT, "100 inducing points"])  # fmt: skip
def test_a_smooth_function_is_recovered(options):
    x, y = data(200, noise=0.05)
    new, true = data(300, seed=1, noise=0.0)
    mean, sd = fitted(options, x=x, y=y).predict(new)
    error = (mean - true).square().mean().sqrt()
    assert float(error) < 0.2 * float(true.std()), "the mean predictor has 1"
    assert bool((sd > 0).all())


@pytest.mark.parametrize("options", [GPOptions(kernel="rbf"), GPOptions(kernel="rbf", inducing=60)],
                         ids=["exact", "sparse"])  # fmt: skip
def test_intervals_are_calibrated_and_the_noise_is_found(options):
    inside, noises = [], []
    for seed in range(4):
        rng = stream(seed, "process")
        x = 3 * torch.rand(600, 2, dtype=torch.double, generator=rng)
        gram = torch.exp(-torch.cdist(x, x).square() / 2) + 1e-9 * torch.eye(600)
        draws = torch.randn(2, 600, dtype=torch.double, generator=rng)
        y = torch.linalg.cholesky(gram) @ draws[0] + 0.2 * draws[1]
        gp = fitted(options, x=x[:150], y=y[:150], seed=seed)
        mean, sd = gp.predict(x[150:])
        noises.append(gp.noise_variance**0.5)
        inside.append(((y[150:] - mean).abs() < 2 * (sd**2 + gp.noise_variance).sqrt()).double())
    assert 0.93 < float(torch.cat(inside).mean()) < 0.975
    assert 0.17 < sum(noises) / 4 < 0.23


def test_a_lengthscale_of_its_own_finds_out_which_dimension_matters():
    rng = stream(0, "ard")
    x = torch.randn(100, 3, dtype=torch.double, generator=rng)
    gp = fitted(GPOptions(ard=True), x=x, y=torch.sin(2 * x[:, 0]))
    lengths = gp.kernel.base_kernel.lengthscale[0]
    assert float(lengths[1:].min()) > 5 * float(lengths[0])
    assert fitted(GPOptions(), x=x, y=x[:, 0]).kernel.base_kernel.lengthscale.numel() == 1


def test_the_kernel_is_fitted_to_a_subset_and_the_posterior_to_all_points():
    x, y = data(300, noise=0.05)
    gp = fitted(GPOptions(subset=60), x=x, y=y)
    assert len(gp.anchors) == 300
    mean, _ = gp.predict(x)
    assert float((mean - y).abs().max()) < 0.5 * float(y.std())
    other = fitted(GPOptions(subset=60), x=x, y=y, seed=1)
    scales = [float(found.kernel.outputscale) for found in (gp, other)]
    assert abs(scales[0] / scales[1] - 1) > 0.01, "of other points"


# Units


@settings(max_examples=6, deadline=None)
@given(
    shift=st.floats(-100, 100), scale=st.floats(1e-3, 1e3), away=st.floats(-50, 50),
    size=st.floats(1e-2, 1e2), kind=st.sampled_from(sorted(KINDS)),
)  # fmt: skip
def test_units_of_scores_and_points_do_not_matter(shift, scale, away, size, kind):
    (x, y), new = data(40), data(20, seed=1)[0]
    mean, sd = fitted(KINDS[kind], x=x, y=y).predict(new)
    moved = fitted(KINDS[kind], x=size * x + away, y=scale * y + shift)
    got_mean, got_sd = moved.predict(size * new + away)
    close = {"rtol": 1e-3, "atol": 1e-3 * float(y.std())}
    torch.testing.assert_close((got_mean - shift) / scale, mean, **close)
    torch.testing.assert_close(got_sd / scale, sd, **close)


@pytest.mark.parametrize("kernel", ["matern", "rbf"])
def test_an_isotropic_process_does_not_mind_how_the_points_are_turned(kernel):
    (x, y), new = data(), data(40, seed=1)[0]
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.double, generator=stream(0, "turn")))[0]
    mean, sd = fitted(GPOptions(kernel=kernel), x=x, y=y).predict(new)
    got_mean, got_sd = fitted(GPOptions(kernel=kernel), x=x @ turn, y=y).predict(new @ turn)
    # nearly: the unit of length, and so the prior of the lengthscale, depends on the axes
    torch.testing.assert_close(got_mean, mean, rtol=0, atol=0.02 * float(y.std()))
    torch.testing.assert_close(got_sd, sd, rtol=0.02, atol=0.01)


# How it is computed


def test_prediction_in_parts_is_prediction_at_once():
    gp, (some, _) = fitted(GPOptions(inducing=25)), data(500, seed=1)
    many = some.repeat(_AT_ONCE // 500 + 2, 1)
    mean, sd = gp.predict(many)
    assert len(mean) == len(many) > _AT_ONCE
    alone = gp.predict(some)
    for i in range(0, len(many), 500):
        torch.testing.assert_close(mean[i : i + 500], alone[0])
        torch.testing.assert_close(sd[i : i + 500], alone[1])
    assert [len(part) for part in gp.predict(many[:0])] == [0, 0]


def test_sums_over_many_points_in_parts_are_the_sums(monkeypatch):
    whole = posterior(fitted(GPOptions(inducing=25)), data(9, seed=1)[0])
    monkeypatch.setattr("netwright.surrogates.gp._AT_ONCE", 7)
    for mine, other in zip(posterior(fitted(GPOptions(inducing=25)), data(9, seed=1)[0]), whole,
                           strict=True):  # fmt: skip
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


def test_the_gradient_of_mean_and_variance_is_that_of_finite_differences():
    for options in KINDS.values():
        gp = fitted(options)

        def both(x, gp=gp):
            at = gp.features(x)
            return gp.mean(at), gp.variance(at)

        point = data(2, seed=1)[0].requires_grad_()
        assert torch.autograd.gradcheck(both, (point,), eps=1e-5, atol=1e-3, rtol=1e-4)


def test_the_stream_decides_everything_and_nothing_else_is_used():
    options, new = GPOptions(inducing=25, subset=40), data(20, seed=1)[0]
    before = torch.get_rng_state()
    first, again, other = (fitted(options, seed=s).predict(new)[0] for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fits_in_threads_give_what_they_give_alone():
    new = data(20, seed=1)[0]

    def work(seed):
        x, y = data(60, seed=seed)
        return fit_gp(x, y, KINDS["sparse"], rng=stream(seed, "fit")).predict(new)

    alone = [work(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(6)))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_lbfgs_has_the_process_to_itself_and_one_thread_of_blas(monkeypatch):
    seen, fit = [], netwright.surrogates.gp.fit_gpytorch_mll_scipy

    def spy(*args, **options):
        blas = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
        seen.append((netwright.surrogates.gp._PROCESS.locked(), set(blas)))
        return fit(*args, **options)

    monkeypatch.setattr(netwright.surrogates.gp, "fit_gpytorch_mll_scipy", spy)
    fitted(GPOptions())
    assert seen == [(True, {1})]
    assert not netwright.surrogates.gp._PROCESS.locked()


# Hard and bad input


@pytest.mark.parametrize("options", [GPOptions(), GPOptions(inducing=5)], ids=["exact", "sparse"])
@pytest.mark.parametrize("what", ["equal scores", "equal points", "both", "pairs of points"])
def test_nothing_to_learn_is_no_failure(options, what):
    x, y = data(12)
    if what in ("equal scores", "both"):
        y = torch.full_like(y, 0.1)
    if what in ("equal points", "both"):
        x = x[:1].expand(12, 3)
    if what == "pairs of points":
        x = x[:6].repeat(2, 1)
    mean, sd = fitted(options, x=x, y=y).predict(data(9, seed=1)[0])
    assert bool(mean.isfinite().all())
    assert bool((sd.isfinite() & (sd > 0)).all())
    if what in ("equal scores", "both"):
        torch.testing.assert_close(mean, torch.full_like(mean, 0.1))


def test_two_points_in_single_precision_are_enough():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    mean, sd = fitted(GPOptions(), x=x, y=torch.tensor([1.0, 2.0])).predict(x)
    assert mean.dtype == torch.double
    assert 1 <= float(mean[0]) <= float(mean[1]) <= 2
    assert bool((sd > 0).all())


NAN = float("nan")
BAD = {
    "one point": (torch.zeros(1, 2), torch.zeros(1), "two at least: 1 points, 1 scores"),
    "no points": (torch.zeros(0, 2), torch.zeros(0), "two at least: 0 points, 0 scores"),
    "different numbers": (torch.zeros(3, 2), torch.zeros(2), "3 points, 2 scores"),
    "a point of NaN": (torch.full((3, 2), NAN), torch.zeros(3), "finite points and scores"),
    "a score of NaN": (torch.zeros(2, 2), torch.tensor([0, NAN]), "finite points and scores"),
    "infinity": (torch.zeros(2, 2), torch.tensor([0, -torch.inf]), "finite points and scores"),
}


@pytest.mark.parametrize(("x", "y", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(x, y, message):
    with pytest.raises(ValueError, match=message) as error:
        fit_gp(x, y, rng=stream(0, "fit"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["inducing", "subset", "iterations"])
def test_options_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        GPOptions(**{name: 0})


@pytest.mark.parametrize("package", ["botorch.models", "gpytorch.kernels"])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch, package):
    monkeypatch.delitem(sys.modules, "netwright.surrogates.gp")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'netwright\[bo\]'") as error:
        import netwright.surrogates.gp  # noqa: F401
    assert "\n" not in str(error.value)
