import json
import math

import pytest

from netwright.runs.samples import DENSE, Draw, Samples, SampleTrace, TraceStep

STEPS = (
    TraceStep(op=0, op_probability=(1.0, 0.0), edges=(), edge_probability=(), free=(),
              weight=(1.0,), log_op=0.0, log_edges=0.0),
    TraceStep(op=1, op_probability=(0.25, 0.75), edges=(0,), edge_probability=(0.5,),
              free=(True,), weight=(1.0,), log_op=math.log(0.75), log_edges=math.log(0.5)),
)  # fmt: skip


def samples(**changes):
    draws = [
        Draw(arch="a", key="1", density=DENSE, log_prob=-1.0),
        Draw(arch="b", key="2", density=DENSE + 0.01, log_prob=-2.0),
        Draw(arch="a", key="1", density=DENSE, log_prob=-3.0),
        Draw(arch=None, key=None, density=None, log_prob=None),
    ]
    trace = SampleTrace(steps=STEPS, log_prob=math.log(0.375))
    return Samples(**({"last_row": 7, "draws": draws, "trace": trace} | changes))


def test_what_is_written_is_read(tmp_path):
    assert Samples.read(tmp_path) is None
    written = samples()
    written.write(tmp_path)
    assert Samples.read(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["samples.json"]


def test_what_the_draws_are_worth():
    found = samples()
    assert (found.valid, found.keys) == (3, {"1", "2"})
    assert found.dense == pytest.approx(1 / 3), "exactly the threshold is not dense"
    mean, error = found.entropy
    assert mean == pytest.approx(2.0)
    assert error == pytest.approx(1.0 / math.sqrt(3))
    none = samples(draws=[Draw(arch=None, key=None, density=None, log_prob=None)])
    assert (none.valid, none.keys, none.dense, none.entropy) == (0, set(), None, None)


def _changed(data, path, value):
    *way, last = path
    for key in way:
        data = data[key]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("last_row",), "x"),
        (("draws",), []),
        (("draws", 0, "density"), 1.5),
        (("draws", 0, "extra"), 1),
        (("draws", 0, "log_prob"), "NaN!"),
        (("trace", "log_prob"), -2.0),
        (("trace", "steps"), []),
        (("trace", "steps", 1, "edges"), [1]),
        (("trace", "steps", 1, "op"), 2),
        (("trace", "steps", 1, "op"), -1),
        (("trace", "steps", 1, "free"), []),
        (("trace", "steps", 1, "log_op"), 0.0),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, path, value):
    data = json.loads(samples().model_dump_json())
    _changed(data, path, value)
    (tmp_path / "samples.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"samples\.json is damaged .*: delete it") as caught:
        Samples.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\x00\xff"])
def test_files_of_another_kind_are_damaged(tmp_path, text):
    (tmp_path / "samples.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"samples\.json is damaged"):
        Samples.read(tmp_path)
