"""A run of a LLaMA-like model that was trained elsewhere: its tokenizer, a text, and what it does unless told otherwise."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.events.files import write_atomically
from nas.pretrained.llama import read_llama
from nas.run.folder import RunFolder
from nas.run.resolve import resolve_experiment
from nas.tasks import TASKS
from search_spaces.errors import HwnasError, InvalidInputError

if TYPE_CHECKING:
    from nas.run.run import Run  # needs torch

CONTEXT = 256
N_WINDOWS = 8  # of training text that tell in which order layers are left out
LANGUAGE_TABLE: dict[str, Any] = {"rounds": 4, "seconds": 0.05, "retry_budget": 0.3, "n_fit": 16, "n_held_out": 10}
LANGUAGE_SEARCH: dict[str, Any] = {
    "objectives": ["bits_per_byte", "decode_ms", "prefill_ms", "size_bytes"],
    "n_measurements": 60,
    "strategy": {"name": "effects"},
    "signals": ["fisher"],
    "n_calibration": 16,
}


def is_language_model(model: str) -> bool:
    """Return True for a GGUF file, a folder with config.json, and a run of such a model."""
    path = Path(model).expanduser()
    if (path / "experiment.yaml").is_file():
        return bool(RunFolder.open(path).experiment.pretrained)
    return model.endswith(".gguf") or (path / "config.json").is_file()


def adopt_language_model(
    model: str | Path,
    text: str = "pydoc",
    folder: str | Path | None = None,
    *,
    context: int = CONTEXT,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> "Run":
    """Make a run of a LLaMA-like model; `run()` of it does everything, and nothing is trained.

    Args:
        model: A `.gguf` file, or a folder with `config.json`, `*.safetensors` and `tokenizer.json`.
        text: What networks are measured on: a name of a data set of text, or a text file or a folder of them.
        folder: Run folder; by default `runs/NAME` of the model.
        context: Tokens of a window, and that exported networks remember.
        overrides: `key=value` of an experiment, as `search.n_measurements=30`.
        settings: Further sections of an experiment, as `devices`.

    Raises:
        InvalidInputError: If the model is no such one, or the text cannot be read.
    """
    import torch

    from nas.pretrained.order import order_of_influence
    from nas.run.run import Run

    path = Path(model).expanduser().resolve()
    read = read_llama(path)
    name = re.sub(r"[^\w.-]", "-", read.name)
    to = Path(folder).expanduser() if folder else Path("runs") / name
    tokenizer = to.resolve().parent / f"{to.name}.tokenizer.json"
    is_new = not (to / "experiment.yaml").is_file()
    if not is_new and tokenizer.exists() and tokenizer.read_text(encoding="utf-8") != read.tokenizer:
        raise InvalidInputError(f"'{to}' was made of another model than '{path}': choose another folder")
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(tokenizer, read.tokenizer.encode())
    is_file = Path(text).expanduser().exists()
    experiment: Mapping[str, Any] = {
        "name": name,
        "task": "language",
        "space": "decoder-small",
        "pretrained": str(path),
        "data": {
            "name": "text" if is_file else text,
            "options": {"tokenizer": str(tokenizer), "end": read.end, "context": context},
            **({"path": str(Path(text).expanduser().resolve())} if is_file else {}),
        },
        "table": LANGUAGE_TABLE,
        "search": LANGUAGE_SEARCH,
        **settings,
    }
    try:
        resolved, _ = resolve_experiment(experiment, to, overrides)
        if is_new:
            data = resolved.data.load(TASKS.get(resolved.task).targets, resolved.seed)
            left_out = order_of_influence(read, torch.from_numpy(data.train[data.inputs][:N_WINDOWS]))
        else:
            left_out = RunFolder.open(to).experiment.left_out
        return Run.create(replace(resolved, left_out=left_out), to)
    except HwnasError:
        if not (to / "experiment.yaml").is_file():  # nothing is left of what was refused
            tokenizer.unlink(missing_ok=True)
        raise
