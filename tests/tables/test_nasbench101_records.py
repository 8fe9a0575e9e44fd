"""Import of NAS-Bench-101's official files, here small ones in the same format."""

import base64
import hashlib
import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official import CELLS, frame, metrics, record

from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Table
from netwright.tables.nasbench101 import import_nasbench101, metrics_message
from netwright.tables.tfrecord import masked_crc, read_records

SPACE = NASBench101()
TEXTS = list(CELLS)
BUDGETS = (4, 12, 36, 108)


def hash_of(text):
    return hashlib.md5(text.encode()).hexdigest()


def result(cell, epochs, repeat, evaluation):
    """Made-up train, valid and test accuracy and seconds: every one different."""
    place = ((cell * 109 + epochs) * 4 + repeat) * 4 + evaluation
    return (0.1 + place / 1e5, 0.2 + place / 1e5, 0.3 + place / 1e5, 10.0 * place)


def training(cell, epochs, repeat):
    text = TEXTS[cell]
    evaluations = [result(cell, epochs, repeat, i) for i in range(3)]
    return record(hash_of(text), epochs, text, metrics(CELLS[text], evaluations))


def write(path, records):
    path.write_bytes(b"".join(map(frame, records)))
    return path


def read(path, **options):
    return import_nasbench101(path, source="made up", **options)


@pytest.fixture
def everything():
    """All trainings, the cells interleaved."""
    return [training(c, e, k) for k in range(3) for e in BUDGETS for c in range(len(TEXTS))]


@pytest.fixture
def full(tmp_path, everything):
    return write(tmp_path / "nasbench_full.tfrecord", everything)


def test_means_of_the_repeats(full):
    rows = read(full)
    assert rows.columns.keys() == {
        "parameters",
        *(
            f"cifar10/{quantity}@{epochs}"
            for quantity in ("train", "valid", "test", "train-seconds", "repeats")
            for epochs in BUDGETS
        ),
    }
    assert rows.columns["parameters"].values.tolist() == list(CELLS.values())
    for i, quantity in enumerate(("train", "valid", "test", "train-seconds")):
        for epochs in BUDGETS:
            column = rows.columns[f"cifar10/{quantity}@{epochs}"]
            assert column.unit == ("seconds" if quantity == "train-seconds" else "fraction")
            for cell in range(len(TEXTS)):
                runs = [result(cell, epochs, k, 2)[i] for k in range(3)]
                assert column.values[cell].item() == pytest.approx(sum(runs) / 3, rel=1e-6)
    assert rows.columns["cifar10/repeats@36"].values.tolist() == [3, 3, 3]


def test_all_runs(full):
    rows = read(full, all_runs=True)
    assert len(rows.columns) == 1 + 4 * (1 + 4 * 2 * 4)
    for cell in range(len(TEXTS)):
        for k in range(3):
            for name, evaluation in (("", 2), ("-half", 1)):
                train, valid, test, seconds = result(cell, 36, k, evaluation)
                wanted = {"train": train, "valid": valid, "test": test, "train-seconds": seconds}
                for quantity, value in wanted.items():
                    column = rows.columns[f"cifar10/{quantity}{name}-run{k + 1}@36"]
                    assert column.values[cell].item() == pytest.approx(value, rel=1e-6)
    half = rows.columns["cifar10/valid-half@108"].values[1].item()
    assert half == pytest.approx(sum(result(1, 108, k, 1)[1] for k in range(3)) / 3, rel=1e-6)


def test_one_budget(tmp_path):
    path = write(tmp_path / "nasbench_only108.tfrecord", [training(0, 108, k) for k in range(3)])
    assert {name.partition("@")[2] for name in read(path).columns} == {"", "108"}


def test_cells_keep_the_order_of_their_nodes(tmp_path):
    text = "input,maxpool3x3,conv3x3-bn-relu,output:0110000100010000"
    swapped = "input,conv3x3-bn-relu,maxpool3x3,output:0110000100010000"
    for chosen in (text, swapped):
        message = metrics(7, [result(0, 108, 0, i) for i in range(3)])
        path = write(tmp_path / "t.tfrecord", [record(hash_of(chosen), 108, chosen, message)])
        table = Table.write(tmp_path / "t.safetensors", SPACE, read(path))
        assert SPACE.to_text(table.archs(torch.tensor([0]))) == [chosen]


def test_missing_repeats_are_missing(tmp_path):
    records = [training(0, 108, 0), training(1, 108, 0), training(1, 108, 1), training(2, 4, 0)]
    columns = read(write(tmp_path / "t.tfrecord", records), all_runs=True).columns
    assert columns["cifar10/repeats@108"].values.tolist() == [1, 2, 0]
    assert columns["cifar10/valid-run2@108"].values.isnan().tolist() == [True, False, True]
    valid = columns["cifar10/valid@108"].values
    runs = [result(1, 108, k, 2)[1] for k in range(2)]
    assert valid[:2].tolist() == pytest.approx([result(0, 108, 0, 2)[1], sum(runs) / 2], rel=1e-6)
    assert valid[2].isnan()
    assert columns["cifar10/valid@4"].values.isnan().tolist() == [True, True, False]


def test_many_cells_and_progress(tmp_path):
    cells = SPACE.to_text(SPACE.enumerate()[:2531])
    messages = [metrics(i + 1, [(0.1, i / 3000, 0.3, 1.0)] * 3) for i in range(len(cells))]
    records = [
        record(hash_of(text), 108, text, message)
        for text, message in zip(cells, messages, strict=True)
    ]
    told = []
    path = write(tmp_path / "t.tfrecord", records * 3)
    rows = read(path, progress=lambda *news: told.append(news))
    assert SPACE.to_text(rows.archs) == cells
    wanted = [i / 3000 for i in range(len(cells))]
    assert rows.columns["cifar10/valid@108"].values.tolist() == pytest.approx(wanted, rel=1e-6)
    assert told == [(7593, 1.0)]


def test_a_message_as_bytes():
    """The wire format by hand: field numbers and types are those of model_metrics.proto."""
    doubles = [(1, 54.0), (2, 5.5), (3, 0.5), (4, 0.25), (5, 0.125)]
    evaluation = b"".join(bytes([n << 3 | 1]) + struct.pack("<d", v) for n, v in doubles)
    evaluation += b"\x32\x02ab"
    raw = b"\x0a" + bytes([len(evaluation)]) + evaluation + b"\x10\xac\x02"
    raw += b"\x19" + struct.pack("<d", 9.0)
    message = metrics_message().FromString(raw)
    (found,) = message.evaluation_data
    assert (message.trainable_parameters, message.total_time) == (300, 9.0)
    assert (found.current_epoch, found.training_time, found.checkpoint_path) == (54, 5.5, "ab")
    assert (found.train_accuracy, found.validation_accuracy, found.test_accuracy) == (
        0.5,
        0.25,
        0.125,
    )


def test_known_checksum():
    """CRC-32C of 123456789 is e3069283, masked as TensorFlow masks it."""
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


class TestDamage:
    """One line that names the record."""

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_every_flipped_bit_is_noticed(self, data):
        raw = bytearray(frame(b'["first"]') + frame(b'["second"]'))
        bit = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[bit // 8] ^= 1 << bit % 8
        number = 1 if bit // 8 < len(frame(b'["first"]')) else 2
        with pytest.raises(ValueError, match=rf"record {number} \(at byte \d+\) was altered"):
            list(_records(raw))

    @pytest.mark.parametrize("lost", [1, 3, 4, 5, 13, 20, 25])
    def test_truncated(self, lost):
        raw = frame(b'["first"]') + frame(b'["second"]')
        with pytest.raises(ValueError, match=r"record 2 .* is cut off: .*download it again"):
            list(_records(raw[:-lost]))

    def test_a_huge_length_with_a_right_checksum(self):
        head = struct.pack("<Q", 1 << 40)
        with pytest.raises(ValueError, match=r"record 1 .*no benchmark file"):
            list(_records(head + struct.pack("<I", masked_crc(head))))

    def test_empty(self, tmp_path):
        with pytest.raises(ValueError, match="is empty"):
            read(write(tmp_path / "t.tfrecord", []))

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda r: r[:4], "it is no list of hash, epochs"),
            (lambda r: [r[0], 1.5, *r[2:]], "it is no list of hash, epochs"),
            (lambda r: len(r), "it is no list of hash, epochs"),
            (lambda r: [r[0], -4, *r[2:]], "-4 is no number of epochs"),
            (lambda r: ["xyz", *r[1:]], "non-hexadecimal"),
            (lambda r: [*r[:4], "####"], "its metrics are unreadable"),
            (lambda r: [*r[:4], "AAAA"], "its metrics are unreadable"),
            (lambda r: [*r[:4], ""], "0 evaluations and 0 parameters"),
            (lambda r: [*r[:4], None], "it is no list of hash, epochs"),
            (lambda r: [*r[:3], "input,conv7x7,output", r[4]], "unknown operation 'conv7x7'"),
            (lambda r: [*r[:2], "01000100", *r[3:]], "3 x 3 adjacency bits"),
            (lambda r: [*r[:2], "010101000", *r[3:]], "not upper triangular"),
            (lambda r: [*r[:2], "010000000", *r[3:]], "not in nasbench101"),
        ],
    )
    def test_unlike_an_official_record(self, tmp_path, change, match):
        broken = json.dumps(change(json.loads(training(1, 108, 0)))).encode()
        path = write(tmp_path / "t.tfrecord", [training(0, 108, 0), broken])
        with pytest.raises(ValueError, match=rf"record 2: (.*){match}"):
            read(path)

    def test_no_json(self, tmp_path):
        path = write(tmp_path / "t.tfrecord", [training(0, 108, 0), b"\xff\xfe"])
        with pytest.raises(ValueError, match=r"record 2: "):
            read(path)

    def test_deep_json(self, tmp_path):
        path = write(tmp_path / "t.tfrecord", [b"[" * 100_000])
        with pytest.raises(ValueError, match=r"record 1: "):
            read(path)

    @pytest.mark.parametrize("values", [(0.5, 1.5, 0.5, 1.0), (0.5, 0.5, float("nan"), 1.0)])
    def test_impossible_accuracy(self, tmp_path, values):
        message = metrics(5, [values] * 3)
        path = write(tmp_path / "t.tfrecord", [record("00", 108, TEXTS[1], message)])
        with pytest.raises(ValueError, match=r"record 1: its evaluation is .*: damaged"):
            read(path)

    def test_a_missing_accuracy_is_not_zero(self, tmp_path):
        message = metrics(5, [(0.5, 0.5, 0.5, 1.0)] * 3)
        message.evaluation_data[2].ClearField("test_accuracy")
        path = write(tmp_path / "t.tfrecord", [record("00", 108, TEXTS[1], message)])
        with pytest.raises(ValueError, match=r"record 1: its evaluation is .*: damaged"):
            read(path)

    def test_a_fourth_repeat(self, tmp_path):
        path = write(tmp_path / "t.tfrecord", [training(0, 108, 0)] * 4)
        with pytest.raises(ValueError, match=r"record 4: a fourth training of module .* for 108"):
            read(path)

    def test_one_hash_for_two_cells(self, tmp_path):
        one, other = json.loads(training(0, 108, 0)), json.loads(training(1, 108, 0))
        records = [json.dumps(r).encode() for r in (one, [one[0], *other[1:]])]
        with pytest.raises(ValueError, match=r"record 2: module .* another cell than in record 1"):
            read(write(tmp_path / "t.tfrecord", records))

    def test_two_hashes_for_one_cell(self, tmp_path):
        one = json.loads(training(1, 108, 0))
        records = [json.dumps([key, *one[1:]]).encode() for key in ("00", "01")]
        rows = read(write(tmp_path / "t.tfrecord", records))
        with pytest.raises(ValueError, match="rows 1 and 2 hold the same architecture"):
            Table.write(tmp_path / "t.safetensors", SPACE, rows)

    def test_wrong_padding_of_base64(self, tmp_path):
        broken = json.loads(training(0, 108, 0))
        broken[4] = base64.b64encode(base64.b64decode(broken[4])[:-3]).decode()
        path = write(tmp_path / "t.tfrecord", [json.dumps(broken).encode()])
        with pytest.raises(ValueError, match=r"record 1: its metrics are unreadable"):
            read(path)


def _records(raw):
    """Read records from bytes."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.tfrecord"
        path.write_bytes(raw)
        yield from read_records(path)
