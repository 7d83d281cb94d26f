"""`hwnas bench`: the exported file timed again."""

import json
import re
import shutil

import pytest

from nas.cli.command import main


@pytest.fixture
def exported(finished, tmp_path):
    (folder,) = (finished / "export").iterdir()
    return shutil.copytree(folder, tmp_path / "model")


def test_the_card_has_the_latency_of_the_file(exported):
    measured = json.loads((exported / "subnet.json").read_text())["measured"]
    assert measured["file_latency_ms"] > 0
    assert f"{measured['file_latency_ms']:.4f} ms" in (exported / "README.md").read_text()


def test_it_times_the_file_and_sets_the_recorded_time_beside_it(exported, capsys):
    assert main(["bench", str(exported), "--rounds", "2"]) == 0
    assert re.search(r": \d+\.\d{4} ms, spread .* its export recorded \d+\.\d{4} ms, [+-]\d+\.\d %", capsys.readouterr().out)


def test_another_device_has_no_recorded_time(exported, tmp_path, capsys):
    device = tmp_path / "device.yaml"
    device.write_text("backend: onnxruntime\nthreads: 2\n")
    assert main(["bench", str(exported), "--rounds", "2", "--device", str(device)]) == 0
    assert "its export recorded none on this device" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), "lacks model.onnx"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no model"), "is not the file that was exported"),
        (lambda folder: (folder / "subnet.json").unlink(), "holds no subnet.json"),
    ],
)
def test_what_cannot_be_timed_is_refused(exported, spoil, message, capsys):
    spoil(exported)
    assert main(["bench", str(exported)]) == 2
    assert message in capsys.readouterr().err


def test_a_device_elsewhere_is_refused(exported, tmp_path, capsys):
    device = tmp_path / "device.yaml"
    device.write_text("label: raspberry-pi-5\nremote: true\n")
    assert main(["bench", str(exported), "--device", str(device)]) == 2
    assert "is remote" in capsys.readouterr().err


def test_batches_are_refused(exported, tmp_path, capsys):
    device = tmp_path / "device.yaml"
    device.write_text("batch: 8\n")
    assert main(["bench", str(exported), "--device", str(device)]) == 2
    assert "name batches to time by --batch 8" in capsys.readouterr().err
