"""Evaluate, an evaluation, and several side by side, in a real browser with a quiet console."""

from __future__ import annotations

import asyncio
import html
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from bus import subjects
from bus.connection import Bus
from bus.messages import Scenario
from mlmodelscope.client import Client

SLOW_MS = 90_000
"""PyTorch is imported in a worker of its own; on a busy machine that takes its time."""


def status(url: str, body: bytes | None = None) -> int:
    """The status of a refusal."""
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(urllib.request.Request(url, body))
    answer.value.close()
    return answer.value.code


def get(url: str) -> str:
    """A page as it comes, without a script."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def two(web_url: str, home: Path, samples: Path) -> str:
    """The ids of one picture evaluated on two frameworks, as `ids=` has them."""

    async def evaluated() -> list[str]:
        async with Client.local(home) as client:
            found = []
            for framework in ("onnxruntime", "pytorch"):
                evaluation = await client.evaluate(
                    "MNIST-CNN",
                    inputs=[samples / "seven.png"],
                    framework=framework,
                    runs=30,
                    trace="framework",
                    threads=1,
                )
                found.append((await evaluation.result()).evaluation_id)
            return found

    return ",".join(asyncio.run(evaluated()))


async def test_a_person_sees_why_one_framework_is_slower(
    page: Any, web_url: str, samples: Path
) -> None:
    await page.goto(web_url)
    await page.get_by_role("link", name="Evaluate", exact=True).click()
    await page.wait_for_url("**/evaluate")  # whole: its script hears what is chosen
    await page.get_by_role("combobox", name="Model", exact=True).select_option("MNIST-CNN")
    await page.wait_for_url("**/evaluate?*model=MNIST-CNN")
    await page.get_by_label("Files of yours").set_input_files(samples / "seven.png")
    await page.get_by_role("checkbox", name="onnxruntime").check()
    await page.get_by_role("checkbox", name="pytorch").check()
    await page.get_by_label("Queries each").fill("20")
    await page.get_by_role("button", name="Run").click()
    await page.wait_for_url("**/together?ids=*")
    await page.get_by_role("heading", name="B against A").wait_for(timeout=SLOW_MS)
    verdict = page.locator("[data-part*=verdict]")
    await verdict.get_by_text("95 %", exact=False).first.wait_for()
    layers = page.locator("[data-part*='together/layers']")
    await layers.scroll_into_view_if_needed()
    await layers.get_by_text("places are on both sides").wait_for()
    assert await layers.locator("tbody tr").count() > 3
    assert await page.locator(".said .classes li:first-child .label").all_inner_texts() == ["7"] * 2
    width = await page.locator(".picture img").first.evaluate("one => one.naturalWidth")
    assert width == 28
    # The address is all that somebody else needs.
    assert "onnxruntime" in get(page.url) and "pytorch" in get(page.url)


async def test_sections_load_by_themselves_and_answer_questions(
    page: Any, web_url: str, two: str
) -> None:
    await page.goto(f"{web_url}/evaluations/{two.split(',')[0]}")
    layers = page.locator("[data-part$='/layers']")
    await layers.get_by_role("button", name="Operator").click()
    cells = await layers.locator("tbody td:nth-child(3)").all_inner_texts()
    assert cells == sorted(cells) and len(cells) > 3
    await layers.get_by_role("button", name="p50 ms").press("Enter")
    times = [float(x) for x in await layers.locator("tbody td:nth-child(5)").all_inner_texts()]
    assert times == sorted(times, reverse=True)
    questions = page.locator("[data-part*='/analyses']")
    await questions.scroll_into_view_if_needed()
    await questions.get_by_label("Question").select_option("A1")
    await questions.get_by_role("columnheader", name="throughput").first.wait_for()
    frame = page.frame_locator("iframe.plot").first
    await frame.locator(".main-svg").first.wait_for()
    whole = page.locator("[data-part$='/completeness']")
    await whole.scroll_into_view_if_needed()
    await whole.get_by_text("timeline: complete").wait_for()
    sampled = page.locator("[data-part$='/metrics']")
    await sampled.get_by_text("power").first.wait_for()
    assert await sampled.locator("polyline, .quiet").count()


async def test_what_fits_is_shown_as_constraints_change(page: Any, web_url: str) -> None:
    await page.goto(f"{web_url}/evaluate?model=MNIST-CNN")
    await page.get_by_label("Device").select_option("gpu")
    await page.get_by_text("device gpu is wanted, it has cpu").wait_for()
    await page.get_by_label("Device").select_option("cpu")
    await page.get_by_label("The node must have").fill("memory>=1000000GiB")
    await page.get_by_text("memory >=1000000GiB is wanted", exact=False).wait_for()
    await page.get_by_label("The node must have").fill("memori>=1")
    await page.get_by_text("unknown constraint").wait_for()
    await page.get_by_label("The node must have").fill("")
    await page.get_by_role("checkbox", name="onnxruntime").wait_for()


async def test_errors_stand_beside_their_fields_and_nothing_is_lost(
    page: Any, web_url: str, samples: Path
) -> None:
    await page.goto(f"{web_url}/evaluate?model=MNIST-CNN")
    await page.get_by_label("Files of yours").set_input_files(samples / "four.png")
    await page.get_by_label("Batch sizes").fill("1, many")
    await page.get_by_role("combobox", name="Load", exact=True).select_option("server")
    await page.get_by_label("Queries a second").fill("-3")
    async with page.expect_response("**/evaluate") as answered:
        await page.get_by_role("button", name="Run").press("Enter")
    assert (await answered.value).status == 422
    sizes = page.get_by_label("Batch sizes")
    assert await sizes.get_attribute("aria-invalid") == "true"
    assert "(got 'many')" in await page.locator("#fault-batch_sizes").inner_text()
    assert "from 0" in await page.locator("#fault-target_qps").inner_text()
    await page.get_by_label("four.png is here already").wait_for()
    # A load that only the coordinators find wrong is told beside its field too.
    await sizes.fill("1")
    await page.get_by_label("Queries a second").fill("")
    async with page.expect_response("**/evaluate"):
        await page.get_by_role("button", name="Run").click()
    assert "above 0 for server" in await page.locator("#fault-target_qps").inner_text()
    await page.get_by_label("Queries a second").fill("50")
    await page.get_by_label("At least, queries").fill("20")
    await page.get_by_label("At least, seconds").fill("0.2")
    await page.get_by_role("button", name="Run").click()
    await page.wait_for_url("**/evaluations/*")
    await page.get_by_role("heading", name="Under load").wait_for(timeout=SLOW_MS)
    assert "four.png" in await page.locator(".said h3").inner_text()


async def test_one_thing_is_changed_and_both_are_compared(
    page: Any, web_url: str, two: str
) -> None:
    first = two.split(",")[0]
    await page.goto(f"{web_url}/evaluations/{first}")
    await page.get_by_role("link", name="Change one thing").click()
    assert await page.get_by_label("Queries each").input_value() == "30"
    assert await page.get_by_label("Look down to").input_value() == "framework"
    assert await page.get_by_label("Threads of the framework").input_value() == "1"
    await page.get_by_label("Threads of the framework").fill("2")
    await page.get_by_role("button", name="Run").click()
    await page.wait_for_url(f"**/together?ids={first},*")
    await page.get_by_role("heading", name="B against A").wait_for(timeout=SLOW_MS)
    differs = page.locator("[data-part*=verdict]").get_by_role("cell", name="intra_op_threads")
    await differs.wait_for()


NAMELESS = """all => all.filter(e => e.type !== "hidden" && !e.labels?.length && !e.ariaLabel
    && !e.title && !e.hasAttribute("alt") && !e.textContent.trim()).map(e => e.outerHTML)"""


async def test_they_fit_a_telephone_and_everything_has_a_name(
    page: Any, web_url: str, two: str
) -> None:
    await page.set_viewport_size({"width": 400, "height": 800})
    first = two.split(",")[0]
    paths = ("/evaluate", f"/evaluations/{first}", f"/together?ids={two}", "/compare")
    for path, scheme in zip(paths, ("light", "dark", "light", "dark"), strict=True):
        await page.emulate_media(color_scheme=scheme)
        await page.goto(web_url + path)
        if await page.locator("[data-part]").count():
            await page.evaluate("document.querySelectorAll('[data-part]').forEach(load)")
        await page.locator("[aria-busy]").first.wait_for(state="detached", timeout=SLOW_MS)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 400, path
        everything = "input, select, textarea, button, a, summary, img, iframe"
        assert await page.eval_on_selector_all(everything, NAMELESS) == [], path


# ------------------------------------------------------------------ without a script


async def test_no_span_is_fetched_for_the_page_itself(web_url: str, home: Path, two: str) -> None:
    """What the collector is asked for its page does not grow with how many spans there are."""
    asked: list[Any] = []
    async with Client.local(home) as client:
        bus: Bus = client._bus

        async def heard(_: str, message: Any) -> None:
            asked.append(message)

        watching = await bus.listen(f"{subjects.TIMELINE}.>", heard)
        first = two.split(",")[0]
        await asyncio.to_thread(get, f"{web_url}/evaluations/{first}")
        await asyncio.to_thread(get, f"{web_url}/together?ids={two}")
        assert asked == []
        await asyncio.to_thread(get, f"{web_url}/evaluations/{first}/completeness")
        assert asked
        await watching.stop()


async def test_who_follows_what_waits_is_not_told_that_there_is_none(
    web_url: str, home: Path, samples: Path
) -> None:
    async with Client.local(home) as client:
        load = Scenario(name="online", min_duration_s=3.0)
        inputs = [samples / "seven.png"]
        await client.evaluate("MNIST-CNN", inputs=inputs, framework="onnxruntime", scenario=load)
        second = await client.evaluate("MNIST-CNN", inputs=inputs, framework="onnxruntime", runs=3)

        def followed() -> tuple[str, str]:
            where = get(f"{web_url}/evaluations/{second.evaluation_id}/queue")
            return where, get(f"{web_url}/api/v1/evaluations/{second.evaluation_id}/facts")

        where, told = await asyncio.to_thread(followed)
        assert where.startswith("queued: 1st of 1 on ")
        assert "event: problem" not in told and "event: RunMeasured" in told
        assert told.rstrip().endswith("event: end\ndata: {}")


def test_a_sample_is_seen_and_given_again_whoever_asked_for_it(web_url: str, two: str) -> None:
    first = two.split(",")[0]
    assert '<img src="/samples/seven.png"' in get(f"{web_url}/evaluations/{first}")
    form = get(f"{web_url}/evaluate?from={first}")
    assert re.search(r'value="package://[^"]*/seven.png" checked', form)


async def test_a_picture_of_elsewhere_is_seen_once_it_is_here(
    web_url: str, home: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "seven.png"  # the name of a sample, and another picture
    Image.new("L", (28, 28), 40).save(mine)
    async with Client.local(home) as client:
        result = await (await client.evaluate("MNIST-CNN", inputs=[mine], runs=2)).result()
    address = f"{web_url}/evaluations/{result.evaluation_id}"
    page = await asyncio.to_thread(get, address)
    assert '<section class="said"' in page and 'alt="seven.png' not in page
    async with (
        aiohttp.ClientSession(headers={"Content-Type": "application/octet-stream"}) as session,
        session.post(f"{web_url}/api/v1/uploads?name=x", data=mine.read_bytes()) as answer,
    ):
        upload = (await answer.json())["upload"]
    assert f'<img src="/api/v1/uploads/{upload}"' in await asyncio.to_thread(get, address)


def test_trials_come_and_go_and_the_last_one_stays(web_url: str, two: str) -> None:
    first, second = two.split(",")
    section = get(f"{web_url}/evaluations/{first}/trials")
    assert "pytorch" in section and 'name="also"' in section
    both = get(f"{web_url}/together?ids={two}")
    assert f'/together?ids={second}"' in both and f'/together?ids={first}"' in both
    assert ">Remove<" not in get(f"{web_url}/together?ids={first}")


@pytest.mark.parametrize("action", ["again", "trials", "cancel"])
def test_what_no_page_of_ours_sends_is_refused(web_url: str, two: str, action: str) -> None:
    path = f"{web_url}/evaluations/{two.split(',')[0]}/{action}"
    assert status(path, b"word=none&place=x") == 403


def test_any_number_is_chosen_from_the_history(web_url: str, two: str) -> None:
    first, second = two.split(",")
    page = get(f"{web_url}/compare?model=MNIST-CNN")
    assert f'value="{first}"' in page and f'value="{second}"' in page
    assert "Tick two or more." in get(f"{web_url}/compare?id={first}&go=1")
    assert "Side by side" in get(f"{web_url}/compare?id={first}&id={second}&go=1")


def test_it_can_be_taken_away(web_url: str, two: str) -> None:
    """Everything under Download, and the rows of a question, as the page links to them."""
    first = two.split(",")[0]
    page = get(f"{web_url}/evaluations/{first}")
    listed = re.search(r"<summary>Download</summary>(.*?)</details>", page, re.S)
    assert listed
    links = re.findall(r'href="([^"]+)"', listed[1])
    question = get(f"{web_url}/evaluations/{first}/analyses?what=A6")
    links += re.findall(r'href="([^"]+format=csv)"', question)
    assert len(links) > 6
    for link in links:
        request = urllib.request.Request(web_url + html.unescape(link))
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200 and answer.read(1), link


WRONG = {
    "analyses?what=A99": 404,
    "analyses?what=A1&batch_size=x": 422,
    "plot?what=A3&batch_size=77": 422,
    "said/9/map.png": 404,
}


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_question_is_told_what_is_wrong(web_url: str, two: str, path: str) -> None:
    assert status(f"{web_url}/evaluations/{two.split(',')[0]}/{path}") == WRONG[path]


def test_only_samples_are_served_by_name(web_url: str) -> None:
    for name in ("digits.txt", "..%2Fdigits.txt", "mnist-cnn.onnx", "%2Fetc%2Fpasswd"):
        assert status(f"{web_url}/samples/{name}") == 404


def test_samples_out_of_another_package_are_shown_too(web_url: str) -> None:
    skimage = pytest.importorskip("skimage")
    form = get(f"{web_url}/evaluate?model=EfficientNet-Lite0")
    assert '<img src="/samples/coffee.png"' in form
    with urllib.request.urlopen(f"{web_url}/samples/coffee.png") as answer:
        assert answer.headers["Content-Type"] == "image/png"
        shipped = Path(skimage.__file__).parent / "data" / "coffee.png"
        assert answer.read() == shipped.read_bytes()
    assert status(f"{web_url}/samples/camera.png") == 404  # of the same package, and no sample
