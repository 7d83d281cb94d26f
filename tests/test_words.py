"""Words of one task stay in tasks, data and families: nothing else may speak of images, classes or logits."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = re.compile(r"\b(n_classes|labels?|logits?|top1|images?|argmax)\b")
AT_HOME = ("nas/tasks", "nas/data", "search_spaces/families")
INDEX = "NumPy's index of the greatest number, of no class"
ALLOWED = {  # file: word: why it may stay
    "nas/report/plots.py": {"label": "a keyword of matplotlib: what stands in the legend"},
    "nas/report/page/page.js": {"label": "an element of HTML beside an input, and ARIA's attribute"},
    "nas/search/milp.py": {"argmax": INDEX},
    "nas/search/strategies/sums.py": {"argmax": INDEX},
    "nas/cli/arguments.py": {"labels": "help of options: the name of an array of a user's"},
    "nas/search/acquisition.py": {"argmax": INDEX},
    "nas/search/relaxation.py": {"argmax": INDEX},
    "predictors/features/topology.py": dict.fromkeys(("label", "labels"), "what Weisfeiler and Lehman count"),
    "latency_tables/transfer.py": {"argmax": INDEX},
    "latency_tables/table/estimate.py": {"argmax": INDEX},
    "latency_tables/device.py": {"label": "of a device: its name in file names"},
    "nas/cli/adopt.py": {"label": "of a device: its name in file names"},
    "nas/ptq/settings.py": {"labels": "help of keys: the name of an array of a user's"},
    "nas/run/tables.py": {"label": "of a device: its name in file names"},
    "nas/run/experiment.py": {"label": "of a device: its name in file names"},
    "nas/run/yaml.py": {"label": "of a device: its name in file names"},
    "nas/events/renamed.py": {"label": "of a device: its name in file names"},
    "nas/training/schedule.py": {"images": "help of the key random_translate, which moves images"},
    "nas/tasks/spaces.py": {"n_classes": "an old argument of users' families, read for one release"},
    "search_spaces/graph/node.py": {"label": "of a field in a signature"},
    "nas/testing/data.py": {"labels": "the kind of targets that a check assumes unless told"},
}


def files():
    for package in ("nas", "search_spaces", "latency_tables", "predictors"):
        for path in sorted((ROOT / package).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".js", ".mjs") and "node_modules" not in name and not name.startswith(AT_HOME):
                yield name, path.read_text()


def test_nothing_is_printed_below_report_and_cli():
    allowed = ("nas/report", "nas/cli", "latency_tables/remote/main.py")  # the last is a program of its own
    talking = re.compile(r"(?<![\w.])print\(|^(?:from|import) rich", re.M)
    assert [name for name, text in files() if talking.search(text) and not name.startswith(allowed)] == []


def test_words_of_a_task_stay_at_home():
    found = {(name, word) for name, text in files() for word in WORDS.findall(text)}
    allowed = {(name, word) for name, words in ALLOWED.items() for word in words if not name.startswith(AT_HOME)}
    assert found - allowed == set()
    assert allowed - found == set(), "allowed, but there no more"
    assert all(reason for words in ALLOWED.values() for reason in words.values())
