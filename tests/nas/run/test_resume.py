"""Searches that are killed, spread over processes and clusters, or share a database: nothing is lost or measured twice."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import joblib
import numpy as np
import optuna
import pytest

import nas
from nas.archive.archive import Archive
from nas.archive.storage import open_storage
from nas.cli.command import main
from nas.search import search
from search_spaces import Choice, TabularSpace
from search_spaces.errors import NotReadyError

N_NETWORKS = 24
DIGITS = str(Path(__file__).parents[3] / "experiments" / "digits.yaml")
SETTINGS = [
    "search.objectives=[error, size_bytes]",
    f"search.n_measurements={N_NETWORKS}",
    "search.noise=0",
    "search.batch=4",
]
DETERMINED = ["id", "error_val", "error_test", "size_bytes", "macs", "latency_ms_predicted"]
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) if os.name == "posix" else []


def words(run, *more):
    return ["search", str(run), *(word for setting in SETTINGS for word in ("--set", setting)), *more]


def measured(run):
    study = optuna.load_study(study_name="error", storage=open_storage(f"sqlite:///{run / 'archive.db'}"))
    return [(trial.user_attrs["genes"], trial.value) for trial in study.get_trials(deepcopy=False)]


@pytest.fixture(scope="module")
def uninterrupted(finished, tmp_path_factory):
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("whole") / "run"))
    (run / "archive.db").unlink()
    assert main(words(run)) == 0
    return run


@pytest.fixture
def fresh(run):
    (run / "archive.db").unlink()
    return run


@pytest.mark.serial
def test_a_search_that_is_killed_ends_as_if_it_had_not_been(fresh, uninterrupted):
    draw, kept = random.Random(0), []
    command = [sys.executable, "-m", "nas.cli", *words(fresh)]
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _n_rows(fresh) <= len(kept):
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        rows = measured(fresh)
        assert rows[: len(kept)] == kept
        kept = rows
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert measured(fresh) == measured(uninterrupted)
    mine, theirs = (nas.open_run(run).front()[DETERMINED] for run in (fresh, uninterrupted))
    assert mine.equals(theirs)
    assert len(kept) >= 4


def _n_rows(run):
    """Return how many trials there are, without Optuna, which would make the tables while the command makes them."""
    try:
        with closing(sqlite3.connect(f"file:{run / 'archive.db'}?mode=ro", uri=True)) as connection:
            query = "select count(*) from trials join studies using (study_id) where study_name = 'error'"
            return connection.execute(query).fetchone()[0]
    except sqlite3.Error:  # the database is just being made
        return 0


def test_workers_measure_the_same(fresh, uninterrupted):
    assert main(words(fresh, "--workers", "2")) == 0
    mine, theirs = dict(measured(fresh)), dict(measured(uninterrupted))
    same = [mine[genes] == theirs[genes] for genes in mine if genes in theirs]
    assert len(mine) == N_NETWORKS
    assert np.mean(same) > 0.9  # one thread instead of two may move an answer that hangs by a hair


@pytest.mark.serial
def test_a_dask_cluster_that_loses_a_worker_loses_no_network(fresh, capsys):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        def kill():
            while _n_rows(fresh) < 14:
                time.sleep(0.02)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        code = main(words(fresh, "--workers", "2", "--backend", "dask", "--scheduler", cluster.scheduler_address))
        killer.join()
    assert code == 0
    genes = [genes for genes, _ in measured(fresh)]
    assert len(genes) == len(set(genes)) == N_NETWORKS
    assert len(nas.open_run(fresh).front()) > 0


def slow(genomes, log):
    """Measures a network; writes a line when it has. Whoever begins after 20 lines dies, once, one second later."""
    time.sleep(0.1)
    if Path(log).exists() and Path(log).read_text().count("\n") >= 20:
        with suppress(FileExistsError):
            Path(f"{log}.died").touch(exist_ok=False)
            time.sleep(1)  # The answer before this one has left the worker by then.
            os.kill(os.getpid(), signal.SIGKILL)
    with Path(log).open("a") as file:
        file.write(f"{genomes[0].tolist()}\n")
    return {"error": ((genomes - 2.0) ** 2).sum(axis=1), "cost": genomes.sum(axis=1).astype(float)}


def test_what_a_lost_worker_had_finished_is_not_measured_again(tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    space, log = TabularSpace([Choice(f"c{i}", tuple(range(5))) for i in range(5)]), str(tmp_path / "log")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        result = search(
            space,
            _Slow(log),
            n_measurements=60,
            strategy="nsga2",
            batch=10,
            workers=2,
            rng=np.random.default_rng(0),
        )
    lines = Path(log).read_text().splitlines()
    assert Path(f"{log}.died").exists()
    assert len(result.archive) == 60
    assert len(lines) == len(set(lines)) == 60


class _Slow:
    def __init__(self, log):
        self.log = log

    def __call__(self, genomes):
        return slow(genomes, self.log)


def test_clusters_that_are_not_there(fresh, capsys):
    assert main(words(fresh, "--backend", "dask")) == 2
    assert "--backend dask needs the address of a scheduler" in capsys.readouterr().err
    assert main(words(fresh, "--workers", "0")) == 2
    assert "--workers must be 1 or more, got 0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def postgres():
    """URL of a PostgreSQL server that this test started."""
    if not POSTGRES:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    binaries = POSTGRES[-1].parent
    start = [*as_user, str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w"]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/tmp"}
    subprocess.run([*as_user, str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "hwnas"], **quiet)
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    subprocess.run([*start, "-o", options, "-l", str(folder / "log"), "start"], **quiet)
    yield f"postgresql://hwnas@/postgres?host={folder}"
    subprocess.run([*start, "-m", "immediate", "stop"], **quiet)
    shutil.rmtree(folder, ignore_errors=True)


TWO = """
import sys, time
import numpy as np
from nas.archive import Archive
from nas.search import search
from search_spaces import Choice, TabularSpace

url, seed = sys.argv[1], int(sys.argv[2])
space = TabularSpace([Choice(f"c{i}", tuple(range(5))) for i in range(5)])

def measure(genomes):
    time.sleep(0.02)
    print("measured", genomes[0].tolist(), flush=True)
    return {"error": ((genomes - 2.0) ** 2).sum(axis=1)}

result = search(space, measure, n_measurements=40, strategy="nsga2", rng=np.random.default_rng(seed),
                archive=Archive(space, url, "error", ("error",)))
print("front", result.front["error"].tolist())
"""


def test_two_searches_write_into_one_postgresql_at_once(postgres):
    searches = [
        subprocess.Popen([sys.executable, "-c", TWO, postgres, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in (1, 2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in searches]
    assert [process.returncode for process in searches] == [0, 0]
    space = TabularSpace([Choice(f"c{i}", tuple(range(5))) for i in range(5)])
    archive = Archive(space, postgres, "error", ("error",))
    rows = {line.removeprefix("measured ") for output in outputs for line in output.splitlines() if "measured" in line}
    assert {str(genome) for genome in archive.genomes().tolist()} == rows
    assert len(rows) > 40
    again = subprocess.run([sys.executable, "-c", TWO, postgres, "1"], capture_output=True, text=True, check=True).stdout
    assert "measured" not in again
    assert again.splitlines()[-1] == outputs[0].splitlines()[-1]


def test_a_run_keeps_its_archive_in_postgresql(postgres, fresh, uninterrupted):
    text = (fresh / "experiment.yaml").read_text().replace("archive: ''", f"archive: {postgres}")
    (fresh / "experiment.yaml").write_text(text)
    assert main(words(fresh)) == 0
    assert not (fresh / "archive.db").exists()
    assert nas.open_run(fresh).front()[DETERMINED].equals(nas.open_run(uninterrupted).front()[DETERMINED])


def test_databases_that_are_not_there(tiny_space):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(
        NotReadyError, match=r"'postgresql://me:\*\*\*@/no\?host=%2Fnowhere' cannot be read .*is the server there"
    ):
        Archive(tiny_space, "postgresql://me:secret@/no?host=/nowhere", "error", ("error",))


def test_a_name_that_a_shared_database_holds_is_refused_before_anything_is_written(tmp_path, failing, quick):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    optuna.create_study(study_name="digits: error", storage=open_storage(storage))
    words = ["run", DIGITS, "--out", tmp_path / "second", *quick, "--set", f"archive={storage}"]
    assert "holds another run named 'digits'; change `name` in the experiment" in failing(words)
    assert not (tmp_path / "second").exists()


def test_two_runs_of_one_name_that_have_measured_nothing_are_told_apart(tmp_path, failing, quick):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    words = [*quick, "--set", f"archive={storage}", "--set", "training.float_epochs=1"]
    assert main(["train", DIGITS, "--out", str(tmp_path / "first"), *words]) == 0
    assert "holds another run named 'digits'" in failing(["train", DIGITS, "--out", tmp_path / "second", *words])
    assert main(["train", DIGITS, "--out", str(tmp_path / "first"), *words]) == 0
