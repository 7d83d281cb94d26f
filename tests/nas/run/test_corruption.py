"""A run folder that something spoiled: every command says so, or answers as before."""

import shutil

import numpy as np
import pytest

from nas import open_run
from nas.cli.command import main
from search_spaces.errors import DamagedFileError

N_CORRUPTIONS = 200
N_GROUPS = 20


def truncate(file, rng):
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(len(content) or 1)])


def flip(file, rng):
    content = bytearray(file.read_bytes() or b"x")
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)


def delete(file, rng):
    file.unlink()


def replace(file, rng):
    file.write_bytes([b"", b"{}", b"id,x\n1,2\n", rng.bytes(300), b"\x00" * 4096][rng.integers(5)])


KINDS = (truncate, flip, flip, delete, replace)
READ_BY_FRONT = ("front.csv", "baselines.csv", "front.sha256", "experiment.yaml")


def commands(path, run):
    """The commands that read a file of the run."""
    if "export" in path.parts:
        return [["verify", str(run / path.parent)]]
    found = [["front", str(run), "--format", "csv"]]
    if path.name in ("archive.db", "supernet.safetensors"):
        found.append(["report", str(run)])
    if path.name not in READ_BY_FRONT or path.name == "experiment.yaml":
        found.append(["front", str(run), "--device", "onnxruntime-1t", "--format", "csv"])
    return found


@pytest.fixture(scope="module")
def files(finished):
    ignored = ("tensorboard", ".lock", "report.html", "front.png")
    relative = [path.relative_to(finished) for path in sorted(finished.rglob("*")) if path.is_file()]
    return [path for path in relative if not set(ignored) & set(path.parts) and path.suffix not in (".png", ".csv-journal")]


@pytest.fixture(scope="module")
def answers(finished):
    return {}


def ask(command, capsys):
    code = main(command)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("group", range(N_GROUPS))
def test_a_spoilt_run_is_refused_or_answers_as_before(group, finished, files, answers, tmp_path, capsys):
    run = tmp_path / "run"
    for number in range(group, N_CORRUPTIONS, N_GROUPS):
        rng = np.random.default_rng(number)
        path, kind = files[rng.integers(len(files))], KINDS[rng.integers(len(KINDS))]
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished, run)
        for command in commands(path, run):
            key = tuple(word.replace(str(run), "RUN") for word in command)
            if key not in answers:
                code, out, _ = ask(command, capsys)
                answers[key] = code, out.replace(str(run), "RUN")
                assert answers[key][0] == 0
        kind(run / path, rng)
        for command in commands(path, run):
            what = f"{number}: {kind.__name__} {path}, {command}"
            key = tuple(word.replace(str(run), "RUN") for word in command)
            code, out, err = ask(command, capsys)
            lines = [line for line in err.splitlines() if line.startswith("hwnas: ")]
            assert "Traceback" not in err, what
            if code == 0:
                assert out.replace(str(run), "RUN") == answers[key][1], what
            else:
                assert code in (1, 2), what
                assert len(lines) == 1 or (code == 1 and lines), f"{what}: {err}"


@pytest.mark.parametrize("name", ["supernet.safetensors", "checkpoint/last.safetensors"])
def test_one_flipped_bit_of_the_weights_is_noticed(run, name):
    flip(run / name, np.random.default_rng(0))
    if name.startswith("checkpoint"):
        (run / "supernet.safetensors").unlink()
        with pytest.raises(DamagedFileError, match="damaged"):
            open_run(str(run)).train()
    else:
        with pytest.raises(DamagedFileError, match="damaged"):
            open_run(str(run)).evaluator()
