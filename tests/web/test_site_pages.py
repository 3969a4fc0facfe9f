"""The pages around an evaluation in a real browser: by mouse, by keyboard, and as read aloud."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmodelscope.client import Client

MODEL = "MNIST-CNN"
PAGES = (
    *("/", "/models", f"/models/{MODEL}", "/datasets", "/datasets/MNIST-5k", "/frameworks"),
    *("/frameworks/onnxruntime", f"/publish?model={MODEL}", "/history", f"/trends?model={MODEL}"),
    "/fleet",
)


@pytest.fixture
async def measured(home: Path, web_url: str) -> None:
    """Two evaluations by their times and one on labelled data, unless they are stored already."""
    async with Client.local(home, user="ann") as client:
        if await client.history(model=MODEL, dataset="MNIST-5k", user="ann"):
            return
        for _ in range(2):
            await (await client.evaluate(MODEL, runs=10, threads=1)).result()
        await (await client.evaluate(MODEL, dataset="MNIST-5k", limit=50, threads=1)).result()


async def test_each_page_can_be_read_aloud_and_fits_a_telephone(
    page: Any, web_url: str, measured: None
) -> None:
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.emulate_media(color_scheme="dark")
    for path in PAGES:  # one browser for all of them: each takes seconds to begin
        await page.goto(web_url + path)
        assert await _hard_to_use(page) == [], path


async def _hard_to_use(page: Any) -> list[str]:
    """What somebody without a mouse, without sight or with a telephone would stumble over."""
    found = []
    if await page.evaluate("document.documentElement.scrollWidth") > 400:
        found.append("wider than the screen")
    found += [
        f"no {landmark}"
        for landmark in ("banner", "navigation", "main")
        if not await page.get_by_role(landmark).count()
    ]
    levels = await page.eval_on_selector_all("h1, h2, h3", "all => all.map(e => +e.tagName[1])")
    if levels.count(1) != 1 or any(b - a > 1 for a, b in zip(levels, levels[1:], strict=False)):
        found.append(f"headings {levels}")
    nameless = r"\s*- (button|link|textbox|combobox|checkbox|searchbox|img|region):?"
    spoken = await page.locator("body").aria_snapshot()
    found += [line for line in spoken.splitlines() if re.fullmatch(nameless, line)]
    stuck = """all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0
        && !e.closest('details:not([open])')).length"""
    if await page.eval_on_selector_all(".wide, pre", stuck):
        found.append("something scrolls by mouse alone")
    await page.keyboard.press("Tab")
    if await page.evaluate("document.activeElement.textContent") != "To the content":
        found.append("the first key does not offer the content")
    if await page.evaluate("getComputedStyle(document.activeElement).outlineWidth") != "3px":
        found.append("the focus is not seen")
    return found


async def test_a_model_is_found_by_what_was_measured(
    page: Any, web_url: str, measured: None
) -> None:
    await page.goto(f"{web_url}/models")
    await page.get_by_label("Accuracy from").fill("90 %")
    await page.get_by_label("Accuracy as").select_option("measured")
    await page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row", name=re.compile(MODEL))
    # The best that anybody measured: another test may have taken a dataset of a few pictures.
    assert re.search(r"top-1 (9\d(\.\d)?|100) % on \S+ measured here", await row.inner_text())
    await row.get_by_role("link", name=MODEL, exact=True).click()
    text = await page.get_by_role("main").inner_text()
    assert "of the claim" in text and "50" in text and "How they stand" in text
    await page.goto(f"{web_url}/models?min_accuracy=many")
    assert "expected percent" in await page.get_by_role("alert").inner_text()


async def test_a_manifest_is_checked_as_it_is_typed_published_and_withdrawn(
    page: Any, web_url: str, home: Path
) -> None:
    await page.goto(f"{web_url}/publish?model={MODEL}@1.0.0")
    text = page.get_by_label("Manifest")
    whole = await text.input_value()
    await text.fill(whole.replace("type: image", "type: picture", 1).replace("scale", "skale", 1))
    faults = page.locator("[data-faults] li")
    await faults.nth(1).wait_for()
    said = await faults.all_inner_texts()
    assert "did you mean scale" in " ".join(said)
    await faults.filter(has_text="skale").get_by_role("button").click()
    chosen = "e => e.value.slice(e.selectionStart, e.selectionEnd)"
    assert "skale" in await text.evaluate(chosen)
    await text.fill(whole.replace(f"name: {MODEL}", "name: From a page", 1))
    await page.get_by_text("No faults: the model From a page 1.0.0").wait_for()
    await page.get_by_role("button", name="Publish").click()
    await page.wait_for_url("**/models/From%20a%20page")
    await page.get_by_text("Withdraw", exact=True).first.click()
    await page.get_by_role("button", name="Withdraw From a page 1.0.0").first.click()
    await page.wait_for_url("**/models")
    async with Client.local(home) as client:
        assert not (await client.models("From a page")).models


async def test_evaluations_are_chosen_by_keyboard_and_compared(
    page: Any, web_url: str, measured: None
) -> None:
    await page.goto(f"{web_url}/history?model={MODEL.lower()}@^1&since=1d&state=finished")
    compare = page.get_by_role("button", name="Compare the chosen")
    assert await compare.is_disabled()
    boxes = page.get_by_role("checkbox")
    for at in (0, 1):
        await boxes.nth(at).focus()
        await page.keyboard.press("Space")
    await compare.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/together\?ids=[0-9a-f]{32}(,|%2C)[0-9a-f]{32}"))
    await page.goto(f"{web_url}/history?model={MODEL}@>=9")
    assert "No evaluation is like this" in await page.get_by_role("main").inner_text()
    await page.goto(f"{web_url}/history?since=yesterday")
    assert "expected a time ago" in await page.get_by_role("alert").inner_text()


@pytest.fixture
def leaving_node(home: Path) -> Iterator[Any]:
    """Starts a second node; calling what this gives ends it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
    command = [sys.executable, "-m", "mlmodelscope", "node", "--id", "passer-by"]
    bus = subprocess.run(
        [sys.executable, "-c", _BUS, str(home)], capture_output=True, text=True, check=True
    ).stdout.strip()
    process = subprocess.Popen([*command, "--bus", bus], env=environment | {"MLMS_HOME": str(home)})
    try:
        yield lambda: process.send_signal(signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


_BUS = """
import pathlib, sys
from mlmodelscope.embedded import Membership
one = Membership(pathlib.Path(sys.argv[1])); print(one.wait().bus_url); one.leave()
"""


async def test_a_node_that_comes_and_leaves_is_seen_within_seconds(
    page: Any, web_url: str, leaving_node: Any
) -> None:
    await page.goto(f"{web_url}/fleet")
    assert await page.get_by_role("region", name="Streams").count() == 1
    ready = page.get_by_role("region", name="Services")
    assert await ready.get_by_text("ready", exact=True).count() == 2
    card = page.get_by_role("region", name="Node passer-by")
    await card.wait_for(timeout=30_000)
    details = page.locator("[data-key^='why-']:not([data-key$='-passer-by'])").first
    await details.locator("summary").click()
    leaving_node()
    await page.get_by_text("passer-by has left").wait_for(timeout=10_000)
    assert await card.count() == 0
    assert await details.get_attribute("open") is not None  # what was unfolded stays so


async def test_the_tutorial_follows_a_first_evaluation_by_keyboard(page: Any, web_url: str) -> None:
    await page.goto(web_url)
    await page.get_by_role("button", name="Show me how").focus()
    await page.keyboard.press("Enter")
    told = page.get_by_role("complementary", name="Tutorial")
    await told.get_by_text("1 of 10").wait_for()
    assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Tutorial"
    await page.goto(f"{web_url}/evaluate?model={MODEL}")
    await told.get_by_text("2 of 10").wait_for()
    for step in ("3 of 10", "4 of 10", "5 of 10", "6 of 10"):
        await told.get_by_role("button", name="Next").focus()
        await page.keyboard.press("Enter")
        await told.get_by_text(step).wait_for()
    await page.get_by_role("button", name="Run").click()
    await told.get_by_text(re.compile("[78] of 10")).wait_for(timeout=20_000)
    await told.get_by_text("8 of 10").wait_for(timeout=60_000)
    await page.keyboard.press("Escape")
    assert await told.count() == 0
    await page.reload()
    assert await told.count() == 0
