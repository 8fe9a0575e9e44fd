"""Every generator with a latent space keeps the contract: add yours to GENERATORS."""

from functools import partial

import pytest

from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.svge import SVGe
from netwright.testing.generators import GENERATOR_CHECKS
from netwright.testing.latent import LATENT_CHECKS

GENERATORS = {
    "arch2vec": partial(Arch2Vec, hidden=32, node_latent=6, dropout=0.0, noise=0.1),
    "dvae": partial(DVAE, hidden=24, latent_size=8),
    "dgmg": partial(dgmg, hidden=32, latent_size=8),
    "svge": partial(SVGe, hidden=24, latent_size=8),
    "svge, released": partial(
        SVGe, hidden=24, latent_size=8, variant="released", kl_weight=0.0
    ),  # its weight of the divergence grows with the batch
    "svge, separate": partial(SVGe, hidden=24, latent_size=8, backward="separate"),
    "svge, forward": partial(SVGe, hidden=24, latent_size=8, backward="none"),
}


#: To learn takes half a minute with most of them.
_LONG = pytest.param(LATENT_CHECKS["learns"], id="learns", marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "check",
    [
        _LONG if name == "learns" else pytest.param(check, id=name)
        for name, check in LATENT_CHECKS.items()
    ],
)
@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_latent_contract(make, check):
    check(make)


def test_the_quickest_of_them_learns():
    LATENT_CHECKS["learns"](GENERATORS["arch2vec"])


#: Works on every layout; the others raise on some.
ANYWHERE = {name: make for name, make in GENERATORS.items() if name != "svge, separate"}


@pytest.mark.parametrize("check", GENERATOR_CHECKS.values(), ids=GENERATOR_CHECKS)
@pytest.mark.parametrize("make", ANYWHERE.values(), ids=ANYWHERE)
def test_generator_contract(make, check):
    check(make)
