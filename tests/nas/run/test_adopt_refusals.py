"""What cannot be adopted, or could mislead: one sentence each, before anything is written; and odd things that work."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from nas.ptq.doors import stored_model
from nas.run.adoption import Adoption
from nas.run.stages.report import describe_blocks, importances
from search_spaces.errors import InvalidInputError
from tests.onnx_models import model, node, saved, small_network

QUICK = {"search": {"n_measurements": 8}, "threads": 1, "devices": {}}


def experiment(file, samples, **settings):
    return {"name": "odd", "adopt": {"model": str(file), "samples": str(samples), **settings}, **QUICK}


@pytest.fixture
def small(tmp_path):
    """Paths of a model and of samples."""
    file, samples = saved(small_network(), tmp_path / "small.onnx"), tmp_path / "data.npz"
    np.savez(samples, x=np.random.default_rng(0).standard_normal((48, 1, 8, 8)).astype(np.float32))
    return file, samples


class Payload:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


def with_pickle(source, to, member):
    """Copy a `.pt2` with a pickle that makes a folder in place of a member, or beside the others."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            if not name.endswith(member):
                new.writestr(name, old.read(name))
        content = io.BytesIO()
        torch.save(Payload(), content)
        new.writestr(f"{root}/{member}", content.getvalue() if member.endswith(".pt") else pickle.dumps(Payload()))


@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/constants/opaque_obj_0"])
def test_a_pt2_never_runs_code(tmp_path, monkeypatch, member):
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    program = torch.export.export(torch.nn.Linear(4, 2).eval(), (torch.randn(1, 4),))
    torch.export.save(program, tmp_path / "good.pt2")
    assert stored_model("good.pt2")
    with_pickle(tmp_path / "good.pt2", tmp_path / "bad.pt2", member)
    with pytest.raises(InvalidInputError, match="never loaded"):
        stored_model("bad.pt2")
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": np.full(48, 10)}, r"labels go from 10 to 10; the model's first output has 10 classes, from 0"),
        ({"labels": np.full(48, -1)}, r"labels go from -1"),
    ],
)
def test_labels_are_of_the_classes(small, tmp_path, arrays, words):
    np.savez(tmp_path / "other.npz", x=np.load(small[1])["x"], **arrays)
    with pytest.raises(InvalidInputError, match=words):
        Adoption.create(experiment(small[0], tmp_path / "other.npz"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_samples_keep_their_values(tmp_path):
    nodes = [node("Cast", ["x"], "f", to=1), node("MatMul", ["f", "w"], "y")]
    proto = model(nodes, {"x": [1, 4]}, ["y"], {"w": np.ones((4, 3), np.float32)})
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    file = saved(proto, tmp_path / "bytes.onnx")
    np.savez(tmp_path / "data.npz", x=np.arange(40).reshape(10, 4) * 25)
    with pytest.raises(InvalidInputError, match="'x' are int64 from 0 to 975, which uint8 does not hold"):
        Adoption.create(experiment(file, tmp_path / "data.npz"), tmp_path / "run")


def test_other_samples_under_the_same_run_are_refused(small, tmp_path):
    Adoption.create(experiment(*small), tmp_path / "run")
    Adoption.create(experiment(*small), tmp_path / "run")
    np.savez(small[1], x=np.zeros((48, 1, 8, 8), np.float32))
    with pytest.raises(InvalidInputError, match="was made with other samples than are given now"):
        Adoption.create(experiment(*small), tmp_path / "run")


def test_code_that_ends_the_program_is_told(small, tmp_path):
    (tmp_path / "data.py").write_text("import sys\n\ndef samples():\n    sys.exit(0)\n")
    with pytest.raises(InvalidInputError, match="raises SystemExit"):
        Adoption.create(experiment(small[0], f"{tmp_path / 'data.py'}:samples"), tmp_path / "run")
    with pytest.raises(InvalidInputError, match="names no function: FILE.py:FUNCTION gives"):
        Adoption.create(experiment(tmp_path / "data.py", small[1]), tmp_path / "run")
    (tmp_path / "data2.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(InvalidInputError, match="cannot be loaded: SystemExit"):
        Adoption.create(experiment(small[0], f"{tmp_path / 'data2.py'}:samples"), tmp_path / "run")


def test_files_that_are_no_samples(small, tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((8, 1, 8, 8)))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "text.csv").write_text("1,2\n")
    for name, words in (("one.npz", "is no .npz"), ("text.csv", "samples are a .npz of np.savez, FILE.py:FUNCTION or a")):
        with pytest.raises(InvalidInputError, match=words):
            Adoption.create(experiment(small[0], tmp_path / name), tmp_path / "run")


def test_a_batch_that_is_fixed_names_the_way_out(small, tmp_path):
    four = saved(small_network(batch=4), tmp_path / "four.onnx")
    with pytest.raises(InvalidInputError, match="4 at once; export it with a batch of 1, or an open one"):
        Adoption.create(experiment(four, small[1]), tmp_path / "run")
    np.savez(tmp_path / "grey.npz", x=np.zeros((48, 8, 8)))
    with pytest.raises(InvalidInputError, match=r"have shape \(8, 8\), the model takes \(1, 8, 8\)$"):
        Adoption.create(experiment(small[0], tmp_path / "grey.npz"), tmp_path / "run")


def test_pictures_are_refused_where_channels_come_last(tmp_path):
    nodes = [node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), node("Conv", ["t", "w"], "y")]
    proto = model(nodes, {"x": [1, 16, 16, 3]}, ["y"], {"w": np.ones((4, 3, 3, 3), np.float32)})
    (tmp_path / "pictures").mkdir()
    for i in range(6):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
    with pytest.raises(InvalidInputError, match="has its channels last"):
        Adoption.create(experiment(saved(proto, tmp_path / "m.onnx"), tmp_path / "pictures"), tmp_path / "run")


@pytest.mark.parametrize("pictures", [{"std": [0.0]}, {"mean": [float("nan")]}, {"resize": -1}])
def test_pictures_need_sensible_numbers(small, pictures, tmp_path):
    with pytest.raises(InvalidInputError, match="pictures|std|resize"):
        Adoption.create(experiment(*small, pictures=pictures), tmp_path / "run")


def damaged(change):
    proto = small_network()
    change(proto)
    return proto


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda proto: proto.ClearField("opset_import"), "names no opset"),
        (lambda proto: proto.graph.initializer[0].ClearField("raw_data"), "does not hold what its shape says"),
        (lambda proto: setattr(proto.graph.node[4], "op_type", "Bogus"), "'Bogus' is none of ONNX's"),
        (lambda proto: proto.graph.input.append(onnx.helper.make_tensor_value_info("u", 1, [1, 2])), "'u' is used by no"),
        (lambda proto: setattr(proto.graph.initializer[0], "data_type", onnx.TensorProto.DOUBLE), "is float64"),
    ],
)
def test_damaged_models_name_what_is_wrong(small, tmp_path, change, words):
    (tmp_path / "bad.onnx").write_bytes(damaged(change).SerializeToString())
    with pytest.raises(InvalidInputError, match=words):
        Adoption.create(experiment(tmp_path / "bad.onnx", small[1]), tmp_path / "run")


def test_what_is_wrong_is_said_of_the_users_file(small, tmp_path):
    proto = small_network()
    proto.ir_version = 99
    file = saved(proto, tmp_path / "new.onnx")
    with pytest.raises(InvalidInputError, match=str(file)):
        Adoption.create(experiment(file, small[1]), tmp_path / "run")


def test_limits_from_below_are_for_strategies(small, tmp_path):
    settings = experiment(*small) | {"search": {"min": {"size_bytes": 10}}}
    with pytest.raises(InvalidInputError, match="adopt.choose=strategy"):
        Adoption.create(settings, tmp_path / "run")


def test_external_data_that_is_missing_is_named(small, tmp_path):
    onnx.save(small_network(), tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    (tmp_path / "e.data").unlink()
    with pytest.raises(InvalidInputError, match="external data cannot be read|external data beside it"):
        Adoption.create(experiment(tmp_path / "e.onnx", small[1]), tmp_path / "run")


def test_a_model_that_gives_nan_is_refused_before_anything_is_written(small, tmp_path):
    nodes = [node("Sqrt", ["x"], "r"), node("MatMul", ["r", "w"], "y")]
    file = saved(model(nodes, {"x": [1, 4]}, ["y"], {"w": np.ones((4, 3), np.float32)}), tmp_path / "nan.onnx")
    np.savez(tmp_path / "data.npz", x=np.full((12, 4), -1, np.float32))
    with pytest.raises(InvalidInputError, match="NaN"):
        Adoption.create(experiment(file, tmp_path / "data.npz"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_input_called_file_and_an_output_without_axes(tmp_path):
    nodes = [
        node("MatMul", ["file", "w"], "y"),
        node("ArgMax", ["y"], "class", axis=1, keepdims=0),
    ]
    proto = model(nodes, {"file": [1, 6]}, ["y", "class"], {"w": np.random.default_rng(0).normal(size=(6, 3)).astype("f")})
    proto.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).standard_normal((48, 6)).astype(np.float32))
    run = Adoption.create(experiment(saved(proto, tmp_path / "m.onnx"), tmp_path / "data.npz"), tmp_path / "run")
    run.run()
    with np.load(run.export(run.knee_id()).folder / "samples.npz") as arrays:
        assert "file" in arrays.files
    graph = run.space.subnet(np.zeros(len(run.space.choices), np.int16)).graph
    assert all(block["size"] for block in describe_blocks(graph))


def test_a_bank_of_something_else_is_made_anew(small, tmp_path):
    run = Adoption.create(experiment(*small), tmp_path / "run")
    own = run.bank.to_bytes()
    noted = json.loads((tmp_path / "run" / "bank.json").read_text())
    (tmp_path / "run" / "bank.npz").write_bytes(b"of something else")
    assert Adoption.open(tmp_path / "run").bank.to_bytes() == own
    assert json.loads((tmp_path / "run" / "bank.json").read_text()) == noted


def test_importances_of_tiny_values(tiny_space, rng):
    genomes = tiny_space.sample(20, rng)
    values = 1e-9 * rng.random(20)
    assert importances(tiny_space, genomes, values, "divergence")["names"]
