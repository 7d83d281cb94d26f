"""The report page, in a real browser."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas import open_run
from nas.cli.command import main
from nas.report.page import render, to_script
from nas.run.stages.report import _shown, describe_blocks, report_content

HOSTILE = "<img src=x onerror=alert(1)></script><b>&amp;"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def content(finished):
    return report_content(open_run(str(finished)))


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, content, tmp_path):
    """Opens the page of some content; fails if anything was written to the console or fetched."""
    said, pages = [], []

    def open_page(changed=None, **options):
        file = tmp_path / "report.html"
        file.write_text(render(changed or content))
        page = browser.new_page(**options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(file.as_uri())
        page.wait_for_selector("#plot .points path")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []


def points(page):
    return page.locator("#plot .scatterlayer .points path").count()


def test_a_finished_run_has_its_report(finished):
    text = (finished / "report.html").read_text()
    assert len(text.encode()) < 8e6
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text.split('id="content"')[0])


def test_a_slider_filters(opened, content):
    page = opened()
    before = points(page)
    slider = page.locator("#max-error_val")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"document.querySelectorAll('#plot .scatterlayer .points path').length < {before}")
    least = min(network["values"]["error_val"] for network in content["networks"])
    n_kept = sum(network["values"]["error_val"] <= least for network in content["networks"])
    assert page.inner_text("#count").startswith(f"{n_kept} of {len(content['networks'])} ")


def test_a_network_that_was_not_timed_keeps_no_limit_of_latency(opened, content):
    first, *rest = content["networks"]
    untimed = {**first, "values": {**first["values"], "latency_ms": math.nan}}
    times = [network["values"]["latency_ms"] for network in (untimed, *rest)]
    page = opened({**content, "networks": [untimed, *rest]})
    page.locator("#max-latency_ms").evaluate("(slider) => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    least = min(time for time in times if not math.isnan(time))
    assert page.inner_text("#count").startswith(f"{times.count(least)} of {len(times)} ")
    assert page.locator("#max-latency_ms").get_attribute("aria-valuetext") == f"{least:.4f} ms"
    page.locator("#max-latency_ms").evaluate("(s) => { s.value = s.max; s.dispatchEvent(new Event('input')); }")
    assert page.inner_text("#count").startswith(f"{len(times)} of {len(times)} ")


def test_a_logarithmic_axis_names_every_tick_once(opened):
    page = opened()
    texts = page.locator("#plot .xtick text").all_text_contents()
    assert len(texts) == len(set(texts)) >= 2


def test_the_table_can_hold_everything_that_was_measured(opened, content):
    page = opened()
    n_front = page.locator("#networks button").count()
    page.check("#all")
    assert n_front < page.locator("#networks button").count() == len(content["networks"])


def test_a_click_pins_a_network(opened, content):
    page = opened()
    point = page.locator("#plot .scatterlayer .trace").last.locator(".points path").first
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#pinned svg rect")
    name = page.inner_text("#pinned h2").split(",")[0]
    (network,) = [network for network in content["networks"] if network["id"] == name]
    assert page.locator("#pinned svg rect").count() == len(network["blocks"])
    assert f"hwnas export {content['folder']} {name} --to my_model" in page.inner_text("#pinned pre")


def test_the_keyboard_reaches_networks_and_tabs(opened, content):
    page = opened()
    first = page.locator("#networks button").first
    first.focus()
    page.keyboard.press("Enter")
    assert first.inner_text().split(" ")[0] in page.inner_text("#pinned h2")
    assert page.evaluate("document.activeElement.id") == "pinned"
    page.locator("#tab-front").focus()
    for tab in ("latency", "predictor", "training", "choices", "search", "configuration"):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#{tab}").is_visible()
        assert not page.locator("#front").is_visible()
    assert "float_epochs: 2" in page.inner_text("#configuration pre")


def test_axes_and_colour_can_be_chosen(opened):
    page = opened()
    page.select_option("#x", "size_bytes")
    page.select_option("#colour", "macs")
    page.uncheck("#log")
    page.wait_for_function("document.querySelector('#plot .xtitle').textContent.startsWith('packed weights')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_dark_and_light(opened, scheme):
    page = opened(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme


def test_names_from_users_are_only_text(opened, content):
    changed = {**content, "title": HOSTILE, "folder": HOSTILE, "gains": [HOSTILE], "configuration": HOSTILE}
    changed["latency"] = [{**content["latency"][0], "name": HOSTILE, "verdict": HOSTILE}]
    changed["columns"] = [{**column, "title": HOSTILE} for column in content["columns"]]
    page = opened(changed)
    assert page.inner_text("#title") == HOSTILE
    assert page.title() == HOSTILE
    page.locator("#networks button").first.click()
    page.click("#tab-latency")
    assert page.inner_text("#latency h2") == HOSTILE
    assert page.locator("img").count() == 0


def test_a_password_is_not_passed_on(finished, monkeypatch):
    opened = open_run(str(finished))
    url = "postgresql://me:SECRET@server/archive"
    text = (finished / "experiment.yaml").read_text().replace("archive: ''", f"archive: {url}")
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    monkeypatch.setattr(opened.folder, "experiment", replace(opened.experiment, archive=url))
    assert "SECRET" not in _shown(opened)
    assert "me:***@server" in _shown(opened)


def test_what_is_no_number_becomes_null():
    assert (
        to_script({"a": [float("nan"), float("inf"), 1.5], "b": "</script>"})
        == '{"a": [null, null, 1.5], "b": "\\u003c/script>"}'
    )


def test_blocks_say_what_a_network_is(tiny_space):
    graph = tiny_space.subnet(tiny_space.sample(1, np.random.default_rng(0))[0]).graph
    blocks = describe_blocks(graph)
    assert len(blocks) == len(graph.blocks)
    assert {"name", "channels", "size", "kernel", "format"} == set(blocks[0])


def test_a_run_without_a_front_says_so(run, capsys):
    (run / "front.csv").unlink()
    assert main(["report", str(run)]) == 2
    assert "hwnas search" in capsys.readouterr().err


def test_a_run_of_the_same_settings_reports_the_same_networks(content, finished):
    front = [network["id"] for network in content["networks"] if "front" in network["layers"]]
    assert sorted(front) == sorted(open_run(str(finished)).front()["id"])
    assert content["configuration"] == (Path(finished) / "experiment.yaml").read_text()
    assert yaml.safe_load(content["configuration"])["experiment"]["name"] == "digits"
