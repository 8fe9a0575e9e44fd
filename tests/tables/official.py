"""Small files in the official formats, written as the benchmarks' own tools do."""

import base64
import bz2
import collections
import json
import pickle
import struct

import numpy as np
import torch

from netwright.tables.nasbench101 import metrics_message
from netwright.tables.tfrecord import masked_crc

CELLS = {
    "input,output:0100": 8_555_530,
    "input,conv3x3-bn-relu,output:010001000": 2_694_282,
    "input,conv1x1-bn-relu,maxpool3x3,output:0110000100010000": 1_000_000,
}


def frame(data):
    """One TFRecord."""
    length = struct.pack("<Q", len(data))
    crc = struct.pack("<I", masked_crc(length))
    return length + crc + data + struct.pack("<I", masked_crc(data))


def metrics(parameters, evaluations):
    """A ModelMetrics of (train, valid, test, seconds), before, halfway and at the end."""
    message = metrics_message()(trainable_parameters=parameters, total_time=99.0)
    for epoch, (train, valid, test, seconds) in enumerate(evaluations):
        message.evaluation_data.add(
            current_epoch=epoch,
            train_accuracy=train,
            validation_accuracy=valid,
            test_accuracy=test,
            training_time=seconds,
            checkpoint_path=f"/path/model.ckpt-{epoch}",
        )
    return message


def record(module_hash, epochs, text, message):
    operations, adjacency = text.split(":")
    encoded = base64.b64encode(message.SerializeToString()).decode()
    return json.dumps([module_hash, epochs, adjacency, operations, encoded]).encode()


# NATS-Bench and NAS-Bench-201 ---------------------------------------------------------------

SETS = {
    "cifar10-valid": ["x-valid", "ori-test"],
    "cifar10": ["ori-test"],
    "cifar100": ["ori-test", "x-valid", "x-test"],
    "ImageNet16-120": ["ori-test", "x-valid", "x-test"],
}
SEEDS = {"12": [111, 777], "200": [777, 888, 999]}
STRINGS = [
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
]


def percent(cell, dataset, seed, split, epoch):
    """A made-up accuracy: every one different."""
    place = (cell * 4 + list(SETS).index(dataset)) * 1000 + seed
    return (
        1 + (place * 4 + ["train", "x-valid", "x-test", "ori-test"].index(split)) / 1e3 + epoch / 5
    )


def trial(cell, dataset, seed, epochs, *, sparse=False):
    """What ResultsCount.state_dict returns; where sparse, x-sets only after the last epoch."""
    sets, last = SETS[dataset], range(epochs - 1, epochs)
    keys = [
        (name, epoch, f"{name}@{epoch}")
        for name in sets
        for epoch in (last if sparse and name != "ori-test" else range(epochs))
    ]
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": {i: percent(cell, dataset, seed, "train", i) for i in range(epochs)},
        "train_acc5es": {i: 99.0 for i in range(epochs)},
        "train_losses": {i: 1.5 / (i + 1) for i in range(epochs)},
        "train_times": collections.OrderedDict((i, 2.5) for i in range(epochs)),
        "arch_config": {
            "channel": 16,
            "num_cells": 5,
            "arch_str": STRINGS[cell],
            "class_num": 10,
        },
        "params": np.float64((1000 * (cell + 1) + len(sets)) / 1e6),
        "flop": 1.25 * (cell + 1),
        "seed": seed,
        "epochs": epochs,
        "latency": [0.25],
        "eval_names": list(sets),
        "eval_acc1es": {k: percent(cell, dataset, seed, name, e) for name, e, k in keys},
        "eval_times": {k: 0.5 for _, _, k in keys},
        "eval_losses": {k: 1.5 for _, _, k in keys},
    }


def cell_info(cell, *, seeds=None, **options):
    """What the file of one cell holds."""
    seeds = seeds or SEEDS
    return collections.OrderedDict(
        (
            hp,
            {
                "arch_index": cell,
                "arch_str": STRINGS[cell],
                "all_results": {
                    (dataset, seed): trial(cell, dataset, seed, int(hp), **options)
                    for dataset in SETS
                    for seed in seeds[hp]
                },
                "dataset_seed": {dataset: list(seeds[hp]) for dataset in SETS},
                "clear_net_done": True,
            },
        )
        for hp in ("12", "200")
    )


def pickle_save(value, path):
    """As nats_bench.api_utils.pickle_save does."""
    with bz2.BZ2File(f"{path}.pbz2", "wb") as file:
        pickle.dump(value, file, protocol=4)


def meta(infos=None):
    evaluated = set() if infos is None else set(infos)
    return {
        "meta_archs": STRINGS,
        "total_archs": len(STRINGS),
        "arch2infos": infos,
        "evaluated_indexes": evaluated,
    }


def natsbench_folder(folder, infos):
    folder.mkdir()
    pickle_save(meta(), folder / "meta.pickle")
    for i, info in infos.items():
        pickle_save(info, folder / f"{i:06d}.pickle")
    return folder


def natsbench_file(path, infos):
    pickle_save(meta(infos), path.with_suffix(""))
    return path


def nasbench201_file(path, infos, *, zipped):
    named = {i: {"full": info["200"], "less": info["12"]} for i, info in infos.items()}
    torch.save(meta(named), path, _use_new_zipfile_serialization=zipped)
    return path
