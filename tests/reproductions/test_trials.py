import json
import math
from dataclasses import replace

import pytest
import torch

from netwright.evaluators.training import Recipe, accuracy
from netwright.evaluators.training import fit as train_network
from netwright.images.digits import digits
from netwright.images.reduce import reduced
from netwright.images.split import stratified_split
from netwright.networks.cost import count_parameters
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.randwire import RandWireSkeleton, randwire_network
from netwright.networks.skeleton import Skeleton
from netwright.reproductions import trials
from netwright.reproductions.trials import (
    Plan,
    Setting,
    carried,
    carry_out,
    said,
    share_right,
    train_once,
)
from netwright.rng import scoped, stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.randwire import RandWire

SPACE = NASBench101(8, 28)
CONV = "input,conv3x3-bn-relu,output:010001000"
POOL = "input,maxpool3x3,output:010001000"
PLANS = [Plan("a", CONV, 0), Plan("a", CONV, 0, 1), Plan("b", POOL, 0), Plan("b", CONV, 0)]


@pytest.fixture(scope="module")
def setting():
    data = reduced(digits(), train=90, test=40, rng=stream(0, "few"))
    return Setting("few", data, 2 / 3, Skeleton(4, 2, 1), Recipe(epochs=2, batch_size=30), "cpu")


def silent(line):
    del line


def test_validation_and_test_are_of_one_training(setting):
    arch, data = SPACE.parse([CONV]), setting.data
    found, says = train_once(setting, arch, rng=stream(3, "trial"))
    # The same by hand: parameters, then batches, from one stream.
    rng = stream(3, "trial")
    with scoped(rng):
        model = nasbench101_network(arch, in_channels=1, num_classes=10, preset=setting.skeleton)
    train, valid = stratified_split(data.train_labels, 2 / 3, rng=stream(0, "split"))
    history = train_network(model, data, setting.recipe, rng=rng, train=train, valid=valid)
    assert found.valid == pytest.approx(history.mean_valid_accuracy(3))
    assert found.test == accuracy(model, data, data.test_images, data.test_labels)
    with torch.inference_mode():
        logits = model(data.normalise(data.test_images))
    assert torch.allclose(says, logits.log_softmax(dim=1), atol=1e-5)
    assert found.parameters == count_parameters(model)
    assert found.error is None


def test_what_networks_say_may_be_kept(setting, tmp_path):
    (trial, fresh), *_ = carried(PLANS[:1], setting, SPACE, tmp_path, keep=True)
    says = said(PLANS[0], SPACE, tmp_path)
    assert fresh
    assert share_right(says, setting) == pytest.approx(trial.test)
    assert share_right(says, setting, among=10) == 1
    assert share_right(says, setting, among=3) >= trial.test
    truth = setting.data.test_labels
    certain = torch.full((40, 10), -9.0).scatter(1, truth[:, None], 0.0)
    assert share_right(certain, setting) == 1
    assert share_right(certain.roll(1, dims=1), setting) == 0
    assert math.isnan(share_right(certain * math.inf, setting))
    ((again, fresh),) = carried(PLANS[:1], setting, SPACE, tmp_path, keep=True)
    assert (again, fresh) == (trial, False)
    with pytest.raises(FileNotFoundError, match=r"remove the \.json beside it to train anew"):
        said(PLANS[1], SPACE, tmp_path)


def test_results_are_on_disk_before_the_next_training(setting, tmp_path, monkeypatch):
    on_disk = []

    def watched(setting, arch, *, rng):
        on_disk.append(len(list(tmp_path.glob("*-repeat-*.json"))))
        return train_once(setting, arch, rng=rng)

    monkeypatch.setattr(trials, "train_once", watched)
    carry_out(PLANS, setting, SPACE, tmp_path, tell=silent)
    assert on_disk == [0, 1, 2]  # the last plan is the first one again


def test_an_interrupted_plan_goes_on_and_ends_alike(setting, tmp_path, monkeypatch):
    whole = carry_out(PLANS, setting, SPACE, tmp_path / "whole", tell=silent)

    def interrupted(line):
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        carry_out(PLANS, setting, SPACE, tmp_path / "parts", tell=interrupted)
    calls = []

    def counted(setting, arch, *, rng):
        calls.append(arch)
        return train_once(setting, arch, rng=rng)

    monkeypatch.setattr(trials, "train_once", counted)
    backwards = carry_out(PLANS[::-1], setting, SPACE, tmp_path / "parts", tell=silent)
    assert len(calls) == 2  # one of three was on disk
    assert [replace(t, seconds=0.0) for t in backwards[::-1]] == [
        replace(t, seconds=0.0) for t in whole
    ]


def test_repeats_differ_and_equal_plans_are_one_training(setting, tmp_path):
    lines = []
    found = carry_out(PLANS, setting, SPACE, tmp_path, tell=lines.append)
    assert found[0] == found[3]
    assert (found[0].valid, found[0].test) != (found[1].valid, found[1].test)
    assert len(lines) == 3
    assert lines[0].startswith("1/4 a: test accuracy ")


def test_a_failure_is_a_result_with_its_reason(setting, tmp_path):
    narrow = replace(setting, skeleton=Skeleton(1, 1, 1))
    wide = "input,conv3x3-bn-relu,conv3x3-bn-relu,output:0110000100010000"
    lines = []
    for _ in range(2):  # the second time it is read
        (found,) = carry_out([Plan("a", wide, 0)], narrow, SPACE, tmp_path, tell=lines.append)
        assert "cannot be divided among 2 nodes" in found.error
        assert math.isnan(found.valid)
        assert math.isnan(found.test)
    assert len(lines) == 1
    assert "cannot be divided" in lines[0]


def test_another_setting_or_a_damaged_file_is_refused(setting, tmp_path):
    carry_out(PLANS[:1], setting, SPACE, tmp_path, tell=silent)
    longer = replace(setting, recipe=replace(setting.recipe, epochs=3))
    fewer = replace(setting, data=reduced(setting.data, train=50, test=40, rng=stream(0, "f")))
    for other in (longer, fewer, replace(setting, skeleton=Skeleton(8, 2, 1))):
        with pytest.raises(ValueError, match=r"trainings of another setting .*: name another"):
            carry_out(PLANS[:1], other, SPACE, tmp_path, tell=silent)
    (file,) = tmp_path.glob("*-repeat-0.json")
    for text in ("{", "[1]", json.dumps({"arch": CONV}), json.dumps({"valid": 1})):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"json is damaged .*: remove it to train anew"):
            carry_out(PLANS[:1], setting, SPACE, tmp_path, tell=silent)


def test_the_global_random_state_is_untouched(setting, tmp_path):
    before = torch.random.get_rng_state()
    carry_out(PLANS[:1], setting, SPACE, tmp_path, tell=silent)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_setting_noted_before_a_field_existed_has_its_default(setting, tmp_path):
    carry_out(PLANS[:1], setting, SPACE, tmp_path, tell=silent)
    path = tmp_path / "setting.json"
    facts = json.loads(path.read_text())
    del facts["recipe"]["cutout"]
    path.write_text(json.dumps(facts))
    carry_out(PLANS[:1], setting, SPACE, tmp_path, tell=silent)
    hidden = replace(setting, recipe=replace(setting.recipe, cutout=2))
    with pytest.raises(ValueError, match="trainings of another setting"):
        carry_out(PLANS[:1], hidden, SPACE, tmp_path, tell=silent)


def test_networks_of_another_space(setting, tmp_path):
    space = RandWire(3)
    skeleton = RandWireSkeleton(((4, 1),), ((4,), (8,)), (1, 2), head=8)
    other = replace(setting, skeleton=skeleton, network=randwire_network)
    plans = [Plan("any", "3:0-1", 0), Plan("any", "3:0-1,0-2,1-2", 0)]
    trials = carry_out(plans, other, space, tmp_path, tell=silent)
    assert [trial.error for trial in trials] == [None, None]
    assert trials[0].parameters != trials[1].parameters
