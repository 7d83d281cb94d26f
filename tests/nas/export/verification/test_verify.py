"""An exported folder proves itself again; whatever is changed in it is found."""

import hashlib
import shutil

import onnx
import pandas as pd
import pytest
from onnx import numpy_helper

from nas.cli.command import main
from nas.export.verification.verify import SUMS


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    baselines = pd.read_csv(finished / "baselines.csv").set_index("baseline")
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", str(finished), baselines.loc["w4a4 largest", "id"], "--to", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "model")


def sum_again(folder):
    """Write the sums of what is there, as one would who wants to deceive."""
    files = [path for path in sorted(folder.iterdir()) if path.name != SUMS]
    (folder / SUMS).write_text("".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files))


def test_an_untouched_folder_holds(folder, capsys):
    assert main(["verify", str(folder)]) == 0
    assert "8 samples, test error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [("stage2/block1/expand/bias/integers", "integers of .* differ"), ("head/linear/weight/scale", "samples differ")],
)
def test_a_changed_model_is_found(folder, name, reason, capsys):
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((array * 3).astype(array.dtype), name))
    onnx.save(model, folder / "model.onnx")
    assert main(["verify", str(folder)]) == 1
    assert "model.onnx is not the file that was exported" in capsys.readouterr().err
    sum_again(folder)
    assert main(["verify", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "samples differ from those that were recorded" in " ".join(said.split())


def test_a_model_that_onnxruntime_refuses_is_named(folder, capsys):
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].op_type = "Unheard"
    onnx.save(model, folder / "model.onnx")
    sum_again(folder)
    assert main(["verify", str(folder)]) == 2
    assert "onnxruntime cannot run" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["model.onnx", "samples.npz", "subnet.json"])
@pytest.mark.parametrize("spoil", ["missing", "cut off", "foreign"])
def test_a_spoiled_folder_is_refused(folder, file, spoil, capsys):
    path = folder / file
    content = path.read_bytes()
    if spoil == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if spoil == "cut off" else b"{}")
    assert main(["verify", str(folder)]) in (1, 2)
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("hwnas: ")]) == 1
    sum_again(folder)
    assert main(["verify", str(folder)]) == 2
    assert "hwnas: '" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../model/model.onnx", "/etc/passwd"])
def test_sums_name_files_of_the_folder_alone(folder, name, capsys):
    with (folder / SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    assert main(["verify", str(folder)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_data_of_ones_own_must_be_named(folder, capsys):
    text = (folder / "subnet.json").read_text()
    (folder / "subnet.json").write_text(text.replace('"name": "digits"', '"name": "npz"'))
    sum_again(folder)
    assert main(["verify", str(folder)]) == 2
    assert "say where they are by --data PATH" in capsys.readouterr().err


def test_other_data_is_refused(folder, capsys):
    text = (folder / "subnet.json").read_text()
    digest = text.split('"digest": "')[1][:16]
    (folder / "subnet.json").write_text(text.replace(digest, "0" * 16))
    sum_again(folder)
    assert main(["verify", str(folder)]) == 2
    assert "the data set 'digits' is not the one" in capsys.readouterr().err
