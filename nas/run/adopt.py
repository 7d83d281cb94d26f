"""nas.adopt: a run of a model that was trained elsewhere; and what such runs do unless told otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.samples import LABELS
from nas.ptq.doors import absolute_source, export_module, stored_model
from nas.run.adopt_language import adopt_language_model, is_language_model
from nas.run.adoption import ARRAYS, Adoption
from search_spaces.errors import InvalidInputError

if TYPE_CHECKING:
    from nas.run.run import Run  # needs torch

# Fewer and larger networks than of an experiment that trains.
ADOPTED_TABLE: dict[str, Any] = {"rounds": 6, "seconds": 0.02, "n_fit": 16, "n_held_out": 12}
OF_THE_RUN = ("devices", "table", "search", "formats", "seed", "threads")
ADOPTED_SEARCH: dict[str, Any] = {"n_measurements": 60}


def adopt(
    model: Any, samples: Any = None, folder: str | Path | None = None, *, name: str = "adopted", **settings: Any
) -> "Adoption | Run":
    """Make a run of a model that was trained elsewhere; `run()` of it does everything, see `Adoption`.

        import nas

        run = nas.adopt(module, samples, "runs/mine")
        run.run()
        run.export(run.knee_id(), "shipped")

    A LLaMA-like language model gives a `Run`, see `adopt_language_model`.

    Args:
        model: A torch module in evaluation mode, an ONNX file, or a `.gguf` file or a folder with `config.json`.
        samples: What it takes, some hundred: an array or a tensor, samples first; by name of the input where it takes
            several, in the order of the module's arguments; or what `--samples` of the command takes. Of a language model
            its text, see there.
        folder: Run folder; by default `runs/NAME`.
        name: Of the run.
        settings: Keys of `adopt` in an experiment, such as `shapes`; and `devices`, `table`, `search`, `formats`, `seed`.

    Raises:
        InvalidInputError: If the model cannot be read, or the samples are not what it takes.
    """
    if isinstance(model, str | Path) and is_language_model(str(model)):
        return adopt_language_model(model, str(samples or "pydoc"), folder, **settings)
    if samples is None:
        raise InvalidInputError("nas.adopt(model, samples): a model needs some hundred samples of what it takes")
    arrays = None if isinstance(samples, str | Path) else samples if isinstance(samples, Mapping) else {"samples": samples}
    whole: dict[str, Any] = {key: settings.pop(key) for key in OF_THE_RUN if key in settings}
    arrays = None if arrays is None else {key: np.asarray(value) for key, value in arrays.items()}
    is_file = isinstance(model, str | Path)
    if not is_file and arrays is None:
        raise InvalidInputError("a torch module needs arrays as samples: it is exported with the first of them")
    if is_file:
        content = stored_model(str(model))
    else:
        content = export_module(model, [array for name, array in (arrays or {}).items() if name != LABELS])
    adopt_settings = {
        **settings,
        "model": absolute_source(str(model)) if is_file else type(model).__name__,
        "samples": absolute_source(str(samples)) if arrays is None else ARRAYS,
    }
    experiment: dict[str, Any] = {
        "name": name,
        "table": ADOPTED_TABLE,
        "search": ADOPTED_SEARCH,
        **whole,
        "adopt": adopt_settings,
    }
    return Adoption.create(experiment, folder, model=content, samples=arrays)
