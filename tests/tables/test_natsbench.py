"""Import of NATS-Bench's official files, here small ones in the same format."""

import bz2
import io
import pickle

import numpy as np
import pytest
import torch
from official import (
    SEEDS,
    STRINGS,
    cell_info,
    meta,
    nasbench201_file,
    natsbench_file,
    natsbench_folder,
    percent,
    pickle_save,
)

from netwright.pickles import Limits
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.csv import PROFILES
from netwright.tables.format import Table
from netwright.tables.natsbench import import_natsbench

SPACE = NASBench201()
CELLS = range(len(STRINGS))


def read(path, **options):
    return import_natsbench(path, source="made up", **options)


@pytest.fixture(scope="module")
def infos():
    return {i: cell_info(i) for i in CELLS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, infos):
    return natsbench_folder(tmp_path_factory.mktemp("nats") / "NATS-tss-v1_0-3ffb9-simple", infos)


@pytest.fixture
def own(tmp_path, infos):
    """A folder that a test may damage."""
    return natsbench_folder(tmp_path / "NATS-tss-v1_0-3ffb9-simple", infos)


def same(one, other):
    assert one.archs.equal(other.archs).all()
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        assert column.values.tolist() == other.columns[name].values.tolist(), name
        assert column.unit == other.columns[name].unit


OFFICIAL = {
    "cifar10-valid/train": ("cifar10-valid", "train"),
    "cifar10-valid/valid": ("cifar10-valid", "x-valid"),
    "cifar10-valid/test": ("cifar10-valid", "ori-test"),
    "cifar10/train": ("cifar10", "train"),
    "cifar10/test": ("cifar10", "ori-test"),
    "cifar100/train": ("cifar100", "train"),
    "cifar100/valid": ("cifar100", "x-valid"),
    "cifar100/test": ("cifar100", "x-test"),
    "cifar100/valtest": ("cifar100", "ori-test"),
    "ImageNet16-120/train": ("ImageNet16-120", "train"),
    "ImageNet16-120/valid": ("ImageNet16-120", "x-valid"),
    "ImageNet16-120/test": ("ImageNet16-120", "x-test"),
    "ImageNet16-120/valtest": ("ImageNet16-120", "ori-test"),
}


def test_means_over_the_seeds(folder):
    rows = read(folder)
    assert SPACE.to_text(rows.archs) == STRINGS
    found = {name for name, column in rows.columns.items() if column.unit == "fraction"}
    assert found == {f"{name}@{epochs}" for name in OFFICIAL for epochs in (12, 200)}
    for name, (dataset, split) in OFFICIAL.items():
        for epochs, seeds in SEEDS.items():
            last = int(epochs) - 1
            for cell in CELLS:
                runs = [percent(cell, dataset, seed, split, last) for seed in seeds]
                value = rows.columns[f"{name}@{epochs}"].values[cell].item()
                assert value == pytest.approx(sum(runs) / len(runs) / 100), name


def test_costs(folder):
    columns = read(folder).columns
    wanted = {
        "parameters": ("count", [1001, 2001, 3001]),
        "cifar100/parameters": ("count", [1003, 2003, 3003]),
        "ImageNet16-120/parameters": ("count", [1003, 2003, 3003]),
        "cifar10/megaflops": ("number", [1.25, 2.5, 3.75]),
        "cifar100/latency-seconds": ("seconds", [0.25] * 3),
        "cifar100/train-seconds@12": ("seconds", [30.0] * 3),
        "cifar10/train-seconds@200": ("seconds", [500.0] * 3),
        "cifar10-valid/valid-seconds@200": ("seconds", [0.5] * 3),
        "ImageNet16-120/repeats@12": ("count", [2.0] * 3),
        "ImageNet16-120/repeats@200": ("count", [3.0] * 3),
    }
    for name, (unit, values) in wanted.items():
        assert (columns[name].unit, columns[name].values.tolist()) == (unit, values), name
    kinds = ("train-seconds", "valid-seconds", "test-seconds", "valtest-seconds", "repeats")
    others = {name for name, column in columns.items() if column.unit != "fraction"}
    others -= {name for name in others if name.partition("/")[2].partition("@")[0] in kinds}
    assert others == {
        "parameters",
        "cifar100/parameters",
        "ImageNet16-120/parameters",
        *(f"{d}/{c}" for d in SEEDS_SETS for c in ("megaflops", "latency-seconds")),
    }


SEEDS_SETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")


def test_names_are_those_of_the_csv_profile(folder):
    known = {metric.name for metric in PROFILES["nasbench201"].values()}
    assert known <= read(folder).columns.keys()


def test_single_seeds(folder):
    rows, means = read(folder, all_runs=True), read(folder)
    for name, column in means.columns.items():
        assert rows.columns[name].values.tolist() == column.values.tolist()
    for epochs, seeds in SEEDS.items():
        for seed in seeds:
            column = rows.columns[f"cifar100/test-seed{seed}@{epochs}"]
            wanted = [
                percent(cell, "cifar100", seed, "x-test", int(epochs) - 1) / 100 for cell in CELLS
            ]
            assert column.values.tolist() == pytest.approx(wanted)
            assert rows.columns[f"cifar10/train-seconds-seed{seed}@{epochs}"].unit == "seconds"
    assert "cifar100/test-seed111@200" not in rows.columns
    Table.write(folder.parent / "all.safetensors", SPACE, rows)


def test_chosen_epochs(folder):
    rows = read(folder, at_epochs=[1, 50])
    first = rows.columns["cifar10-valid/valid-of12@1"].values[1].item()
    runs = [percent(1, "cifar10-valid", seed, "x-valid", 0) for seed in SEEDS["12"]]
    assert first == pytest.approx(sum(runs) / 200)
    fiftieth = rows.columns["cifar10/train-of200@50"].values[2].item()
    runs = [percent(2, "cifar10", seed, "train", 49) for seed in SEEDS["200"]]
    assert fiftieth == pytest.approx(sum(runs) / 300)
    assert "cifar10/train-of12@50" not in rows.columns
    with pytest.raises(ValueError, match="no epoch 0: choose from 1 to 200"):
        read(folder, at_epochs=[0])


def test_a_series_that_only_some_have(tmp_path):
    infos = {i: cell_info(i, sparse=i != 1) for i in CELLS}
    columns = read(natsbench_folder(tmp_path / "n", infos), at_epochs=[7]).columns
    assert columns["cifar100/valid-of200@7"].values.isnan().tolist() == [True, False, True]
    assert not columns["cifar100/valtest-of200@7"].values.isnan().any()
    assert not columns["cifar100/valid@200"].values.isnan().any()


def test_no_mean_of_some_of_the_seeds(tmp_path, infos):
    """The official reader fails there: a mean over other seeds is another quantity."""
    info = cell_info(1)
    for key in [f"x-valid@{epoch}" for epoch in range(199)]:
        del info["200"]["all_results"]["cifar100", 888]["eval_acc1es"][key]
    folder = natsbench_folder(tmp_path / "n", infos | {1: info})
    columns = read(folder, at_epochs=[7], all_runs=True).columns
    assert columns["cifar100/valid-of200@7"].values.isnan().tolist() == [False, True, False]
    assert not columns["cifar100/valid-of200-seed777@7"].values.isnan().any()
    assert not columns["cifar100/valid@200"].values.isnan().any()


def test_fewer_seeds(tmp_path, infos):
    few = infos | {1: cell_info(1, seeds={"12": [777], "200": [888]})}
    columns = read(natsbench_folder(tmp_path / "n", few), all_runs=True).columns
    assert columns["cifar10/repeats@200"].values.tolist() == [3, 1, 3]
    wanted = percent(1, "cifar10", 888, "ori-test", 199) / 100
    assert columns["cifar10/test@200"].values[1].item() == pytest.approx(wanted)
    assert columns["cifar10/test-seed777@200"].values.isnan().tolist() == [False, True, False]


def test_sizes_that_disagree_are_those_of_seed_888(tmp_path):
    infos = {i: cell_info(i) for i in CELLS}
    for seed, millions in ((777, 9.0), (888, 8.0), (999, 7.0)):
        for dataset in ("cifar10", "cifar10-valid"):
            infos[0]["200"]["all_results"][dataset, seed]["params"] = millions
    columns = read(natsbench_folder(tmp_path / "n", infos)).columns
    assert columns["parameters"].values.tolist() == [8_000_000, 2001, 3001]


def test_one_file_holds_the_same(tmp_path, folder, infos):
    told = []
    path = natsbench_file(tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2", infos)
    rows = read(path, all_runs=True, progress=lambda *news: told.append(news))
    same(rows, read(folder, all_runs=True))
    assert [done for done, _ in told] == [1, 2, 3]
    assert told[-1][1] == 1.0


@pytest.mark.parametrize("zipped", [False, True])
def test_nasbench201_holds_the_same(tmp_path, folder, infos, zipped):
    path = nasbench201_file(tmp_path / "NAS-Bench-201-v1_1-096897.pth", infos, zipped=zipped)
    same(read(path), read(folder))


def test_weights_are_skipped(tmp_path, folder):
    full = {i: cell_info(i) for i in CELLS}
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.BatchNorm2d(64))
    for info in full.values():
        for training in info["200"]["all_results"].values():
            training["net_state_dict"] = layers.state_dict()
    same(read(natsbench_folder(tmp_path / "NATS-tss-v1_0-3ffb9-full", full)), read(folder))


def test_progress(folder):
    told = []
    read(folder, progress=lambda *news: told.append(news))
    assert told == [(1, 1 / 3), (2, 2 / 3), (3, 1.0)]


class TestDamage:
    """One line that names the file."""

    def test_no_archive(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"has no meta.pickle.pbz2: name the folder"):
            read(tmp_path)

    def test_a_file_is_missing(self, own):
        (own / "000001.pickle.pbz2").unlink()
        with pytest.raises(FileNotFoundError, match=r"lacks 000001.pickle.pbz2 .* whole archive"):
            read(own)

    @pytest.mark.parametrize("keep", [0, 3, 100, -1])
    def test_truncated(self, own, keep):
        path = own / "000001.pickle.pbz2"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ValueError, match=r"000001.pickle.pbz2: "):
            read(own)

    def test_flipped_bits_inside_the_compressed_data(self, own):
        path = own / "000002.pickle.pbz2"
        raw = bytearray(path.read_bytes())
        for place in range(20, len(raw), len(raw) // 7):
            damaged = bytearray(raw)
            damaged[place] ^= 4
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"000002.pickle.pbz2"):
                read(own)

    def test_another_cell(self, own):
        pickle_save(cell_info(0), own / "000001.pickle")
        with pytest.raises(ValueError, match=r"000001.* it is of the cell '\|avg_pool.*, not "):
            read(own)

    def test_the_same_cell_twice(self, tmp_path, monkeypatch):
        monkeypatch.setattr("official.STRINGS", [*STRINGS[:2], STRINGS[1]])
        rows = read(natsbench_folder(tmp_path / "n", {i: cell_info(i) for i in CELLS}))
        with pytest.raises(ValueError, match="rows 2 and 3 hold the same architecture"):
            Table.write(tmp_path / "t.safetensors", SPACE, rows)

    def test_unknown_operation(self, tmp_path, monkeypatch):
        strange = STRINGS[1].replace("none", "conv_7x7")
        monkeypatch.setattr("official.STRINGS", [STRINGS[0], strange, STRINGS[2]])
        with pytest.raises(ValueError, match="cell 1: unknown operation 'conv_7x7'"):
            read(natsbench_folder(tmp_path / "n", {i: cell_info(i) for i in CELLS}))

    def test_the_size_space(self, own):
        pickle_save(meta() | {"meta_archs": ["8:16:24:32:40"]}, own / "meta.pickle")
        with pytest.raises(ValueError, match=r"meta.pickle.pbz2: this is the size search space"):
            read(own)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda t: t.update(name="svhn"), "a training of 200 epochs on 'svhn'"),
            (lambda t: t.update(epochs=90), "a training of 90 epochs on 'cifar10'"),
            (lambda t: t.pop("params"), "params"),
            (lambda t: t["train_acc1es"].clear(), "199"),
            (lambda t: t.update(train_acc1es={199: "high"}), "train@200 is a str, not a number"),
            (lambda t: t["eval_acc1es"].update({"ori-test@199": 412.0}), "no fraction"),
            (lambda t: t["eval_acc1es"].update({"ori-test@199": float("inf")}), "no fraction"),
        ],
    )
    def test_unlike_an_official_training(self, own, change, match):
        info = cell_info(1)
        change(info["200"]["all_results"]["cifar10", 888])
        pickle_save(info, own / "000001.pickle")
        with pytest.raises(ValueError, match=match):
            read(own)

    def test_a_training_is_missing(self, own):
        info = cell_info(1)
        del info["200"]["all_results"]["cifar10", 888]
        pickle_save(info, own / "000001.pickle")
        with pytest.raises(ValueError, match=r"000001.*lacks .*\('cifar10', 888\)"):
            read(own)

    def test_hostile_pickle(self, own, tmp_path):
        class Attack:
            def __reduce__(self):
                return eval, (f"open({str(tmp_path / 'owned')!r}, 'w')",)

        pickle_save({"12": Attack()}, own / "000000.pickle")
        with pytest.raises(ValueError, match=r"000000.* it names builtins.eval, .*do not trust"):
            read(own)
        assert not (tmp_path / "owned").exists()

    def test_bomb(self, own, monkeypatch):
        """A megabyte of zeros takes 45 bytes: a file that never ends is given up."""
        monkeypatch.setattr("netwright.tables.natsbench._CELL", Limits(stream=1 << 22))
        bomb = b"\x80\x04" + pickle.dumps({})[2:-1] + b"B" + (1 << 30).to_bytes(4, "little")
        packed = bz2.BZ2Compressor()
        with (own / "000000.pickle.pbz2").open("wb") as file:
            file.write(packed.compress(bomb))
            for _ in range(64):
                file.write(packed.compress(bytes(1 << 20)))
            file.write(packed.flush())
        assert (own / "000000.pickle.pbz2").stat().st_size < 10_000
        with pytest.raises(ValueError, match=r"000000.* larger than 4,194,304 bytes, decomp"):
            read(own)

    def test_a_zip_that_is_no_checkpoint(self, tmp_path):
        path = tmp_path / "x.pth"
        buffer = io.BytesIO()
        np.savez(buffer, a=np.zeros(3))
        path.write_bytes(buffer.getvalue())
        with pytest.raises(ValueError, match=r"x.pth: it has no data.pkl"):
            read(path)
