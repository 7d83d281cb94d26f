"""The report: one HTML file that needs no network, of a template, Plotly's library and the content as JSON."""

import html
import json
import math
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs


def render(content: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        content: As `nas.run.stages.report.report_content` gives it. Texts of users in it enter the page as text only.
    """
    asset = {name: files(__name__).joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    return Template(asset["html"]).substitute(
        title=html.escape(str(content["title"])),
        style=asset["css"],
        script=asset["js"],
        plotly=get_plotlyjs(),
        content=to_script(content),
    )


def to_script(content: Any) -> str:
    """Return JSON that may stand inside a `script` element: without `<`, and with null for what is no finite number."""
    return json.dumps(_finite(content), ensure_ascii=True).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
