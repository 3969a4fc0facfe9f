"""The pages in a real browser, as wide as a telephone, with nothing on the console."""

from __future__ import annotations

from typing import Any

import pytest


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
