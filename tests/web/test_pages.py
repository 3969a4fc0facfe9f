"""The pages in a real browser: a person's own picture, evaluated, with nothing on the console."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium"
)


@pytest.fixture
async def page() -> AsyncIterator[Any]:
    """A page of a browser; what it says on its console fails the test."""
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = await browser.new_page(viewport={"width": 1200, "height": 900})
        said: list[str] = []
        found.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        found.on("pageerror", lambda error: said.append(str(error)))
        yield found
        await browser.close()
        assert not said


async def test_a_person_evaluates_a_picture_of_theirs(
    page: Any, web_url: str, samples: Path
) -> None:
    await page.goto(web_url)
    await page.get_by_role("link", name="Evaluate", exact=True).click()
    await page.locator("select[name=model]").select_option("MNIST-CNN")
    await page.wait_for_url("**/evaluate?model=MNIST-CNN")
    await page.get_by_label("Files of yours").set_input_files(samples / "seven.png")
    await page.get_by_label("Queries each").fill("20")
    await page.get_by_role("button", name="Run").click()
    await page.wait_for_url("**/evaluations/*")
    await page.get_by_role("heading", name="Where the time goes").wait_for(timeout=60_000)
    first = page.locator(".classes li").first
    assert await first.locator(".label").inner_text() == "7"
    width = await page.locator(".picture img").evaluate("one => one.naturalWidth")
    assert width == 28
    await page.get_by_role("button", name="Operator").click()
    cells = await page.locator("[data-layers] tbody td:nth-child(3)").all_inner_texts()
    assert cells == sorted(cells) and len(cells) > 3
    await page.get_by_text("Timeline: complete").wait_for(timeout=20_000)
    await page.get_by_role("link", name="Run again").click()
    assert await page.get_by_label("Queries each").input_value() == "20"


@pytest.mark.parametrize(
    ("path", "shows"),
    [
        ("/models?search=mnist", "MNIST-CNN"),
        ("/models/EfficientNet-Lite0", "Where it would run"),
        ("/history", "History"),
        ("/fleet", "onnxruntime"),
        ("/evaluate?model=MNIST-CNN", "Batch sizes"),
    ],
)
async def test_pages_show_what_there_is_and_fit_a_telephone(
    page: Any, web_url: str, path: str, shows: str
) -> None:
    await page.set_viewport_size({"width": 360, "height": 700})
    await page.emulate_media(color_scheme="dark")
    await page.goto(web_url + path)
    assert shows in await page.locator("main").inner_text()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(17, 22, 28)"
    names = "all => all.filter(e => !(e.labels?.length || e.type === 'hidden')).length"
    assert await page.eval_on_selector_all("input, select, textarea", names) == 0
