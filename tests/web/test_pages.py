"""The pages in a real browser, as wide as a telephone, with nothing on the console."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
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


@pytest.mark.parametrize(
    ("path", "shows"),
    [
        ("/models?search=mnist", "MNIST-CNN"),
        ("/models/EfficientNet-Lite0", "Where it would run"),
        ("/history", "History"),
        ("/fleet", "onnxruntime"),
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
