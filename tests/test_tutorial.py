"""docs/tutorial.ipynb is executed whole, and docs/api.md is fresh."""

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside Jupyter's client
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_tutorial_runs():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(DOCS)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("text/html" in output.get("data", {}) for output in outputs)


def test_the_api_reference_is_fresh(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import write_api

    assert write_api.TARGET.read_text() == write_api.text(), "run `python docs/write_api.py`"
