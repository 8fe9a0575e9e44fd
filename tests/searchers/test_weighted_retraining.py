"""Weighted retraining of a decoder: the contract, the weights, and each part of the loss."""

from functools import partial
from pathlib import Path

import pytest
import torch
from codebook import codebook

from netwright.config.methods.agnet import AGNetConfig
from netwright.generators.svge import SVGe
from netwright.rng import stream
from netwright.searchers.weighted_retraining import (
    RetrainingOptions,
    WeightedRetraining,
    rank_weights,
)
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.testing import searchers as contract

SPACE = Toy()
FREE = NASBench101(max_nodes=5)


def svge(space, **options):
    sizes = {"hidden": 8, "latent_size": 4, "rounds": 1, "backward": "none"}
    return SVGe(space.layout, rng=stream(0, "svge"), **sizes | options).eval()


def make(space, *, rng, model=None, **options):
    few = {"initial": 3, "update_every": 3, "epochs": 1, "batch_size": 30, "pool": 6}
    options = RetrainingOptions(**few | options)
    return WeightedRetraining(space, model or svge(space), options=options, rng=rng)


def taught(score, *, known, seed=0, **options):
    """A searcher that was told some architectures of the toy space, once."""
    searcher = make(SPACE, rng=stream(seed, "start"), initial=len(known), **options)
    searcher.tell(known, score(known), rng=stream(seed, "tell"))
    return searcher


def quality(archs):
    return contract.quality(archs)


def opposite(archs):
    return 1 - contract.quality(archs)


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
def test_contract(check):
    check(make)


@pytest.mark.slow
def test_it_improves():
    options = {"initial": 9, "batch_size": 8, "learning_rate": 0.02, "epochs": 10, "pool": 10}
    contract.check_improves(partial(make, prediction=0.9, **options))


def test_weights_fall_with_the_rank():
    weights = rank_weights(100, 0.01)
    torch.testing.assert_close(weights[[0, 1, 99]], torch.tensor([1.0, 0.5, 0.01]))
    assert rank_weights(4, 0.5).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_the_decoder_leans_to_the_best_of_what_was_told():
    known, reached = SPACE.enumerate()[::2], {}
    for score in (quality, opposite):
        searcher = taught(
            score, known=known, prediction=0.0, epochs=25, batch_size=14, learning_rate=0.03
        )
        reached[score] = float(quality(searcher.generator.sample(200, rng=stream(0, "z"))).mean())
    assert reached[quality] > 0.65
    assert reached[opposite] < 0.35


def test_a_weight_is_the_chance_of_a_draw_and_the_weight_of_its_loss():
    known = SPACE.enumerate()[torch.tensor([0, 13, 26])]  # of quality 0, 1/2 and 1
    searcher, drawn = make(SPACE, rng=stream(0, "start"), epochs=400, prediction=0.0), []

    def forward(latent, archs):
        drawn.append(contract.quality(archs))
        nothing = 0 * next(searcher.generator.decoders.parameters()).sum()
        return nothing + torch.ones(len(latent)), nothing + torch.zeros(len(latent))

    searcher._model.forward = forward
    searcher.tell(known, quality(known), rng=stream(0, "tell"))
    weights = rank_weights(3, 0.01).flip(0)  # worst first, as the three are
    rows = (2 * torch.cat(drawn)).round().long()
    share = torch.bincount(rows, minlength=3) / len(rows)
    torch.testing.assert_close(share, weights / weights.sum(), atol=0.02, rtol=0)
    assert searcher.stats()["loss"] == pytest.approx(float(weights[rows].mean()), rel=1e-4)


def test_without_a_tilt_the_decoder_learns_all_alike():
    known = SPACE.enumerate()[::2]
    searcher = taught(quality, known=known, prediction=0.0, epochs=20, tilt=1e6)
    assert 0.35 < float(quality(searcher.generator.sample(200, rng=stream(0, "z"))).mean()) < 0.65


def test_the_predictor_ranks_what_is_new():
    known = SPACE.enumerate()[::2]
    for score in (quality, opposite):
        searcher = taught(
            score, known=known, prediction=1.0, epochs=40, batch_size=14, tilt=1.0, pool=13
        )
        asked = searcher.ask(13, rng=stream(0, "ask"))
        found = score(asked.archs)[: asked.origin.count("generator")]
        assert len(found) > 6
        assert float(found[:3].mean()) > float(found[-3:].mean()) + 0.2, "the best come first"


def test_the_reconstruction_is_the_mean_of_nodes_twice_and_of_edges_once():
    model = svge(FREE)
    searcher = make(FREE, rng=stream(0, "start"), model=model)
    archs = FREE.sample(6, rng=stream(0, "archs"))
    assert len(archs.num_nodes.unique()) > 1
    latent = torch.randn(6, 4, generator=stream(0, "z"))
    op, edges = model.logits(latent, archs.pad(5))
    lost = searcher._model(latent, archs.pad(5))[0]
    for i, n in enumerate(archs.num_nodes.tolist()):
        nodes, pairs = [0.0], []
        for j in range(1, n):
            allowed = model.layout.allowed_ops[j]
            chance = op[i, j].masked_fill(~allowed, -torch.inf).softmax(dim=0)
            nodes.append(-chance[archs.ops[i, j]].log())
            for k in range(j):
                there = edges[i, k, j].sigmoid()
                pairs.append(-(there if archs.adj[i, k, j] else 1 - there).log())
        torch.testing.assert_close(lost[i], 2 * sum(nodes) / n + sum(pairs) / len(pairs))


@pytest.mark.parametrize("space", [FREE, NASBench201(), SPACE], ids=lambda space: space.name)
def test_logits_give_the_likelihood(space):
    model, archs = svge(space), space.sample(7, rng=stream(0, "archs"))
    latent = torch.randn(7, 4, generator=stream(0, "z"))
    op, edges = model.logits(latent, archs)
    archs = archs.pad(space.layout.max_nodes)
    of_op = op.masked_fill(~space.layout.allowed_ops, -torch.inf).log_softmax(dim=2)
    of_op = of_op.gather(2, archs.ops[:, :, None])[:, :, 0].where(archs.node_mask, 0.0)
    free = (space.layout.free & archs.node_mask[:, None]).float()
    of_edges = torch.nn.functional.binary_cross_entropy_with_logits(
        edges, archs.adj.float(), weight=free, reduction="none"
    )
    total = of_op.sum(dim=1) - of_edges.sum(dim=(1, 2))
    torch.testing.assert_close(total, model.log_likelihood(latent, archs)[:, 0])


def test_the_decoder_is_a_copy_and_the_encoder_stays():
    model = svge(SPACE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    known = SPACE.enumerate()[::3]
    one, other = (make(SPACE, rng=stream(0, "start"), model=model, initial=9) for _ in range(2))
    one.tell(known, quality(known), rng=stream(0, "tell"))
    for found in (model.state_dict(), other.generator.state_dict()):
        assert all(torch.equal(found[name], value) for name, value in before.items())
    changed = {
        name.partition(".")[0]
        for name, value in one.generator.state_dict().items()
        if not torch.equal(before[name], value)
    }
    assert changed == {"decoders"}


def test_what_the_decoder_proposes_is_valid_even_if_it_draws_anything():
    for within in (True, False):
        model = svge(FREE)
        searcher = make(FREE, rng=stream(0, "start"), model=model, within=within, pool=20)
        rng, origins = stream(0, "rng"), []
        for _ in range(3):
            asked = searcher.ask(4, rng=rng)
            assert bool(FREE.is_valid(asked.archs).all())
            searcher.tell(asked.archs, asked.archs.num_edges / 9, rng=rng)
            origins += asked.origin
        assert origins[:4] == ["random"] * 4
        assert origins[4:].count("generator") >= 4
        assert (searcher.stats()["valid"] == 1) == within


def test_training_goes_by_evaluations_told():
    searcher, rng = make(SPACE, rng=stream(0, "start"), initial=5, update_every=4), stream(0, "rng")
    trained = []
    for _ in range(13):
        archs = searcher.ask(1, rng=rng).archs
        searcher.tell(archs, quality(archs), rng=rng)
        trained.append(searcher.state_dict()["counters"][1])
    assert trained == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1, not 0"),
        ("pool", 0, "pool must be at least 1, not 0"),
        ("spread", 0.0, "spread must be positive, not 0.0"),
        ("prediction", 1.5, "prediction must be within 0 and 1, not 1.5"),
    ],
)
def test_options_out_of_range_are_errors(name, value, message):
    with pytest.raises(ValueError, match=message):
        RetrainingOptions(**{name: value})


def test_a_model_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="Codebook has no decoder to retrain"):
        make(SPACE, rng=stream(0, "start"), model=codebook(SPACE))
    with pytest.raises(ValueError, match="knows graphs of 5 nodes and 5 operations, toy has 3"):
        make(SPACE, rng=stream(0, "start"), model=svge(FREE))


def test_the_configurations_defaults_are_the_searchers():
    config, options = AGNetConfig(model=Path("fit")), RetrainingOptions()
    for name in RetrainingOptions.__dataclass_fields__:
        assert getattr(config, name) == getattr(options, name), name
    with pytest.raises(ValueError, match="give its --model"):
        AGNetConfig()
