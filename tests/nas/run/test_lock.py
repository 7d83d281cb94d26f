import subprocess
import sys

import pytest
from filelock import FileLock

from nas.cli.command import main


@pytest.mark.parametrize("verb", ["train", "measure", "search", "run"])
def test_a_second_command_refuses(run, verb, failing):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with FileLock(run / ".lock"):  # of its own, as another process has it
        assert "hwnas: another hwnas command is working on" in failing([verb, run])
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert {path: time for path, time in before.items() if path.name != ".lock"} == after


def test_queries_need_no_lock_and_a_dead_process_holds_none(run, failing):
    program = f"""
from pathlib import Path
from nas.run.folder import RunFolder
with RunFolder.open(Path({str(run)!r})).locked():
    print("locked", flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"locked\n"
            assert "is working on" in failing(["train", run])
            assert main(["front", str(run)]) == 0
        finally:
            holder.kill()
    assert main(["train", str(run)]) == 0
