"""What a change of the code changed: numbers that must stay exactly as they were, and speeds, of two commits in turn.

    python experiments/benchmarks/before_after.py OLD NEW --pairs 5

Both commits are checked out into a temporary folder, and a probe runs on the code of each: OLD, NEW, OLD, NEW and so on.
Exact parts: networks, costs and names of parts of every registered space; weights, errors, search and front of a short
training on digits with an invented latency table; fronts of costs alone. All of them in the first pair; in the others, which
are shorter, those that the speeds give anyway. Differences are listed.
Speeds are printed as Markdown. Exit code: 0 nothing differs, 1 something does, 2 a commit or its probe failed.

Modules and names move between commits, so the probe looks for each in several places: `PLACES` and `RENAMED` in `probe.py`.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import probe

N_SHOWN = 12  # differences that are listed of each part


def main() -> int:
    """Check out, run in turn, compare, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="commit before")
    parser.add_argument("new", metavar="NEW", help="commit after")
    parser.add_argument("--pairs", type=int, default=5, help="how often each is run, in turn")
    parser.add_argument("--repository", default=str(Path(__file__).parents[2]), help="clone that has both commits")
    options = parser.parse_args()
    git = ["git", "-C", options.repository]
    try:
        words = [*git, "rev-parse", "--short"]
        short = [subprocess.check_output([*words, f"{c}^{{commit}}"], text=True).strip() for c in (options.old, options.new)]
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            trees = [
                stack.enter_context(worktree(git, commit, Path(folder) / name))
                for name, commit in zip(("old", "new"), short, strict=True)
            ]
            runs = [[run_probe(tree, exact=i == 0) for tree in trees] for i in range(max(1, options.pairs))]
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 2
    differing = compare_exact(runs)
    print_speeds(runs, short)
    return 1 if differing else 0


@contextlib.contextmanager
def worktree(git: list[str], commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out into a folder, and take the folder away at the end."""
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=True)


def run_probe(tree: Path, *, exact: bool) -> dict[str, Any]:
    """Run the probe on the code of a folder by this interpreter, on one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(tree)}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "probe.json"
        # -P: this file's folder holds modules too, and is not to be looked into
        command = [sys.executable, "-P", probe.__file__, str(answer), *(["--exact"] if exact else [])]
        subprocess.run(command, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        content: dict[str, Any] = json.loads(answer.read_text())
        return content


def compare_exact(runs: list[list[dict[str, Any]]]) -> bool:
    """Print every exact part and whether it is the same; return whether one differs, of the two commits or between runs."""
    (old, new), *_ = runs
    names = list(dict.fromkeys([*old["exact"], *new["exact"]]))
    lines = {name: list(differences(old["exact"].get(name), new["exact"].get(name))) for name in names}
    for which, commit in enumerate(("OLD", "NEW")):
        for i, pair in enumerate(runs[1:], start=2):
            for name, part in pair[which]["exact"].items():
                again = differences(runs[0][which]["exact"][name], part)
                lines[name] += [f"not repeatable: run {i} of {commit}: {line}" for line in again]
    print("| exact part | values | the same |\n|---|---|---|")
    for name, listed in lines.items():
        print(f"| {name} | {count(old['exact'].get(name)):,} | {f'no: {len(listed)} differences' if listed else 'yes'} |")
    for name, listed in lines.items():
        if listed:
            print(f"\n{name}, OLD -> NEW:\n")
            print("\n".join(f"- {line}" for line in listed[:N_SHOWN]))
            if len(listed) > N_SHOWN:
                print(f"- and {len(listed) - N_SHOWN} more")
    return any(lines.values())


def count(part: Any) -> int:
    """Return how many plain values a tree holds."""
    if isinstance(part, dict | list):
        return sum(map(count, part.values() if isinstance(part, dict) else part))
    return int(part is not None)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield a line for everything that differs between two trees of plain values; numbers are compared to the last digit."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if key in old and key in new:
                yield from differences(old[key], new[key], f"{where}/{key}")
            else:
                yield f"{where}/{key:.150}: only in {'OLD' if key in old else 'NEW'}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{where}/{i}")
    elif old != new:
        yield f"{where}: {str(old)[:150]} -> {str(new)[:150]}"


def print_speeds(runs: list[list[dict[str, Any]]], commits: list[str]) -> None:
    """Print a row for each speed: of each commit the median over its runs, of the two the ratio within each pair."""
    print(
        f"\nSpeeds: {len(runs)} of each in turn, each by its median; ratio: how many times as fast NEW is, pair by pair.\n"
    )
    print("| | unit | " + " | range | ".join([*commits, "ratio"]) + " | range |")
    print("|---" * 8 + "|")
    for name, (title, unit, more_is_better) in probe.SPEEDS.items():
        values = np.array([[np.median(run["speeds"][name]) for run in pair] for pair in runs])
        ratios = values[:, 1] / values[:, 0] if more_is_better else values[:, 0] / values[:, 1]
        cells = [f"{np.median(v):.4g} | {v.min():.4g} to {v.max():.4g}" for v in (*values.T, ratios)]
        print(f"| {title} | {unit} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
