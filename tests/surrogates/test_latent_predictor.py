"""Prediction from the latent space: joint training, and its interruption."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from netwright.files import load_state, save_state
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.svge import SVGe
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.surrogates.latent import PRESETS, Joint, LatentPredictor
from netwright.surrogates.regression import Training
from netwright.testing.generators import complete_graphs

LAYOUT = Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3)
TRAINING = Training(
    epochs=3, batch_size=8, learning_rate=2e-3, schedule="cosine", clip=5.0, average=0.4
)

#: Enough to learn the labels below.
LEARNING = Joint(replace(TRAINING, epochs=40, learning_rate=1e-2), 0.0, regressors=4)


def generator(seed=0, **more):
    return SVGe(LAYOUT, hidden=12, latent_size=6, rng=stream(seed, "g"), **more).eval()


def labels(n=20):
    archs = complete_graphs(LAYOUT)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:n]]
    return archs, 0.9 - 0.05 * archs.num_edges.float()


def begun(joint, *, model=None, n=20):
    predictor = LatentPredictor(model or generator(), joint)
    predictor.begin(*labels(n), rng=stream(0, "fit"))
    return predictor


def tree_equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(tree_equal(a[k], b[k]) for k in a)
    return a == b


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_an_interrupted_fit_ends_as_one_that_was_not(tmp_path, weight):
    """Killed after every single step, and gone on with in a new process's objects."""
    joint = Joint(TRAINING, weight, regressors=2)
    whole = begun(joint)
    losses = list(whole.run())
    assert len(losses) == 9
    for stop in range(1, len(losses)):
        first = begun(joint)
        run = first.run()
        for _ in range(stop):
            next(run)
        save_state(tmp_path / "state", first.state_dict())
        second = begun(joint, model=generator())
        second.load_state_dict(load_state(tmp_path / "state"))
        assert list(second.run()) == losses[stop:]
        assert second.finished
        mine, theirs = (p.state_dict()["regression"] for p in (second, whole))
        for part in ("module", "mean", "optimiser", "counters"):
            assert tree_equal(mine[part], theirs[part]), f"{part} after a stop at {stop}"
        assert mine["sums"][2:] == theirs["sums"][2:]


def test_the_plateau_is_resumed_too():
    plateau = replace(TRAINING, schedule="plateau", learning_rate=1e-9, epochs=14, batch_size=20)
    whole = begun(Joint(plateau, 0.0))
    for _ in whole.run():
        pass
    rate = whole.state_dict()["regression"]["sums"][2]
    assert rate == pytest.approx(1e-10)  # a rate of nothing has no progress: one reduction
    first = begun(Joint(plateau, 0.0))
    for _, _ in zip(range(11), first.run(), strict=False):
        pass
    second = begun(Joint(plateau, 0.0))
    second.load_state_dict(first.state_dict())
    for _ in second.run():
        pass
    assert second.state_dict()["regression"]["sums"][2] == rate


def test_a_saved_predictor_predicts_without_its_labels(tmp_path):
    fitted = begun(Joint(TRAINING, 0.0))
    for _ in fitted.run():
        pass
    save_state(tmp_path / "state", fitted.state_dict())
    again = LatentPredictor(generator(seed=9), Joint(TRAINING, 0.0))
    again.load_state_dict(load_state(tmp_path / "state"))
    archs = complete_graphs(LAYOUT)
    assert torch.equal(again.predict(archs), fitted.predict(archs))
    assert tree_equal(
        again.state_dict()["regression"]["module"], fitted.state_dict()["regression"]["module"]
    )


def test_the_state_of_other_labels_is_refused():
    state = begun(Joint(TRAINING, 0.0)).state_dict()
    with pytest.raises(ValueError, match="other labels"):
        begun(Joint(TRAINING, 0.0), n=30).load_state_dict(state)
    archs, score = labels()
    other = LatentPredictor(generator(), Joint(TRAINING, 0.0))
    other.begin(archs, score, rng=stream(1, "fit"))
    with pytest.raises(ValueError, match="seed"):
        other.load_state_dict(state)
    larger = SVGe(LAYOUT, hidden=16, latent_size=6, rng=stream(0, "g"))
    with pytest.raises(ValueError, match="another generator"):
        LatentPredictor(larger, Joint(TRAINING, 0.0)).load_state_dict(state)


def test_the_generator_given_stays_as_it_is():
    model = generator()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predictor = LatentPredictor(model, Joint(TRAINING, 0.1))
    predictor.fit(*labels(), rng=stream(0, "fit"))
    assert tree_equal(dict(model.state_dict()), before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    tuned = predictor.tuned.state_dict()
    assert any(not torch.equal(tuned[name], value) for name, value in before.items())


def moved(weight):
    """Names of the parameters that a fit changes."""
    model = generator()
    predictor = LatentPredictor(model, Joint(TRAINING, weight))
    predictor.fit(*labels(), rng=stream(0, "fit"))
    before, after = dict(model.named_parameters()), dict(predictor.tuned.named_parameters())
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_a_weight_of_zero_leaves_the_decoder_alone():
    assert moved(0.0) == {"encoder"}
    assert moved(0.1) == {"encoder", "decoders"}


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.7])
def test_the_loss_is_the_weighted_sum(weight):
    """(1 - w) MSE + w L of the first batch, computed by hand."""
    archs, score = labels()
    everything = Training(epochs=1, batch_size=20, learning_rate=1e-3)
    predictor = LatentPredictor(generator(), Joint(everything, weight))
    predictor.begin(archs, score, rng=stream(0, "fit"))
    found = (predictor.predict(archs) - score.mean()) / score.std(correction=0)
    target = (score - score.mean()) / score.std(correction=0)
    seed = predictor.state_dict()["regression"]["data"][1]
    order = torch.randperm(20, generator=stream(seed, "epoch/0"))
    other = generator().loss(archs[order], rng=stream(seed, "step/0")).detach()
    expected = (1 - weight) * nn.functional.mse_loss(found, target) + weight * other
    (loss,) = predictor.run()
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_isomorphic_architectures_have_one_score():
    archs = complete_graphs(LAYOUT)
    archs = archs[archs.num_nodes == 4]
    swap = torch.tensor([0, 2, 1, 3])
    swapped = ArchitectureBatch(archs.ops[:, swap], archs.adj[:, swap][:, :, swap], archs.num_nodes)
    ordered = ~archs.adj[:, 1, 2]  # nothing between the two that change places
    archs, swapped = archs[ordered], swapped[ordered]
    assert torch.equal(hashing.keys(archs), hashing.keys(swapped))
    changed = ~archs.equal(swapped)
    assert changed.sum() > 20
    predictor = LatentPredictor(generator(), LEARNING)
    predictor.fit(*labels(), rng=stream(0, "fit"))
    one, two = predictor.predict(archs), predictor.predict(swapped)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    assert one.std() > 1e-3  # it does tell others apart


def test_points_of_the_tuned_space_are_scored_as_the_graphs_there():
    predictor = LatentPredictor(generator(), Joint(TRAINING, 0.0))
    archs, score = labels()
    predictor.fit(archs, score, rng=stream(0, "fit"))
    with torch.no_grad():
        latent = predictor.tuned.encode(archs)[0]
    assert torch.equal(predictor.predict_latent(latent), predictor.predict(archs))


def test_training_falls_with_the_epochs_and_tells_its_loss():
    predictor = begun(LEARNING)
    losses = [loss for loss in predictor.run() if loss is not None]
    assert len(losses) == 40
    assert losses[-1] < 0.5 * losses[0]
    assert predictor.seconds > 0


def test_what_has_no_latent_space_is_refused():
    with pytest.raises(ValueError, match="no latent space"):
        LatentPredictor(GraphPNAS(LAYOUT, hidden=8, rng=stream(0, "g")))
    with pytest.raises(ValueError, match="begin first"):
        next(LatentPredictor(generator()).run())
    with pytest.raises(ValueError, match="fit first"):
        _ = LatentPredictor(generator()).tuned


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_weights_are_shares(weight):
    with pytest.raises(ValueError, match="weight"):
        Joint(TRAINING, weight)


def test_several_regressors_predict_their_mean():
    """Of labels 0 and 1 deviation apart: the mean over regressors of what each predicts alone."""
    predictor = begun(LEARNING)
    archs, score = labels()
    module = predictor.state_dict()["regression"]["module"]
    latent = generator().encode(archs)[0]
    alone = []
    for k in range(4):
        x = latent
        for layer in (0, 2, 4, 6):
            name = f"regressors.{k}.{layer}"
            x = nn.functional.linear(
                x.relu() if layer else x, *(module[f"{name}.{part}"] for part in ("weight", "bias"))
            )
        alone.append(x[:, 0])
    expected = score.mean() + score.std(correction=0) * torch.stack(alone).mean(dim=0)
    torch.testing.assert_close(predictor.predict(archs), expected.detach(), atol=1e-5, rtol=0)
    assert torch.stack(alone).std(dim=0).min() > 1e-4
    with pytest.raises(ValueError, match="regressors"):
        Joint(TRAINING, regressors=0)


def test_a_preset_lasts_as_long_as_it_is_told():
    short = PRESETS["paper"].lasting(3)
    assert short.training.epochs == 3
    assert short.lasting(100) == PRESETS["paper"]
