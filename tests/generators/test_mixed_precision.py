"""Losses under automatic mixed precision are close to those in single precision."""

from functools import partial

import pytest
import torch

from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.fit import Fit, Recipe
from netwright.generators.svge import SVGe
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

GENERATORS = {
    "arch2vec": partial(Arch2Vec, dropout=0.0),
    "dgmg": partial(dgmg, hidden=32),
    "dvae": partial(DVAE, hidden=32),
    "svge": partial(SVGe, hidden=32),
}
SPACE = NASBench101()


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_the_loss_and_its_gradient_stay(make):
    archs = SPACE.sample(32, rng=stream(0, "archs"))
    model = make(SPACE.layout.freed(keep_ends=True), rng=stream(0, "generator"))
    whole = model.loss(archs, rng=stream(0, "loss"))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.loss(archs, rng=stream(0, "loss"))
    assert mixed.item() == pytest.approx(whole.item(), rel=0.02)
    parameters = list(model.parameters())
    wanted, found = (
        torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (whole, mixed)
    )
    assert [a is None for a in wanted] == [b is None for b in found]
    assert all(b.dtype == torch.float32 for b in found if b is not None)
    a, b = (torch.cat([g.flatten() for g in side if g is not None]) for side in (wanted, found))
    assert (a - b).norm() <= 0.3 * a.norm()


def test_a_fit_in_mixed_precision():
    archs = SPACE.sample(40, rng=stream(0, "archs"))
    model = GENERATORS["svge"](SPACE.layout.freed(keep_ends=True), rng=stream(0, "generator"))
    fit = Fit(model, archs[:32], archs[32:], Recipe(64, 16, precision="bf16"), seed=0)
    records = [record for record in fit.run() if record is not None]
    assert records[-1].graphs == 64
    assert records[-1].train < 60
    assert not torch.is_autocast_enabled("cpu")
