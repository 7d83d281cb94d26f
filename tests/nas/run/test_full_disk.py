"""A disk that fills up in any stage: a clear message, nothing lost that was there, and the same command goes on later."""

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from nas import open_run
from nas.cli.command import main
from nas.events.files import write_atomically

pytestmark = pytest.mark.serial

DIGITS = str(Path(__file__).parents[3] / "experiments" / "digits.yaml")


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(disk, left):
    """Leave so many bytes."""
    (disk / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - left))


def snapshot(run):
    """Every file but the database, which is asked what it holds, and traces of a training."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in ("archive.db", ".lock")]
    content = {path: path.read_bytes() for path in files if "tensorboard" not in path.parts and path.suffix != ".journal"}
    return content, open_run(str(run)).archives.genomes().tolist()


def refused(words, capsys):
    assert main([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("hwnas: ")]
    assert len(lines) == 1
    assert any(
        text in lines[0] for text in ("No space left", "cannot write", "disk is full", "disk I/O", "unable to open")
    ), lines


@pytest.mark.parametrize("left", [0, 40_000])
@pytest.mark.parametrize("verb", ["report", "export", "search", "measure"])
def test_a_full_disk_loses_nothing(verb, left, finished, disk, capsys):
    run = Path(shutil.copytree(finished, disk / "run"))
    (exported,) = (run / "export").iterdir()
    words = {
        "report": ["report", run],
        "export": ["export", run, exported.name, "--to", disk / "model"],
        "search": ["search", run, "--set", "search.n_measurements=60"],
        "measure": ["measure", run, "--again"],
    }[verb]
    fill(disk, left)
    before, measured = snapshot(run)
    refused(words, capsys)
    (disk / "filler").unlink()
    after, measured_after = snapshot(run)
    changed = [path for path, content in before.items() if after.get(path) != content and path.name != "experiment.yaml"]
    assert not changed
    assert measured_after[: len(measured)] == measured
    assert not (disk / "model").exists()
    assert main(["front", str(run), "--format", "csv"]) == 0


@pytest.mark.parametrize("n_written", [0, 1, 2, 3])
def test_a_front_is_there_whichever_of_its_files_found_no_room(n_written, run, monkeypatch):
    opened, write, calls = open_run(str(run)).folder, write_atomically, []
    front, baselines = opened.front(), opened.baselines()

    def filling(path, content):
        if len(calls) == n_written:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        calls.append(path)
        write(path, content)

    monkeypatch.setattr("nas.run.folder.write_atomically", filling)
    with pytest.raises(OSError, match="No space left"):
        opened.write_front(front.iloc[1:], baselines.iloc[1:])
    assert len(opened.front()) in (len(front), len(front) - 1)
    assert len(opened.baselines()) in (len(baselines), len(baselines) - 1)


def test_a_training_goes_on_when_there_is_room_again(disk, quick, capsys):
    words = ["train", DIGITS, "--out", disk / "run", *quick]
    fill(disk, 600_000)  # room for the experiment, not for a second checkpoint beside the first
    refused(words, capsys)
    (disk / "filler").unlink()
    assert main([str(word) for word in words]) == 0
    assert (disk / "run" / "supernet.safetensors").exists()
