"""One OTLP request over HTTP, tried again for as long as OTLP says that it may pass."""

from __future__ import annotations

import asyncio

import aiohttp

TRIES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
REQUEST_S = 10.0
AGAIN = (429, 502, 503, 504)
"""The answers after which OTLP wants the same request again; any other failure is final."""
ANSWER_BYTES = 64 * 1024
HEADERS = {"Content-Type": "application/x-protobuf", "User-Agent": "mlmodelscope"}


class PostFailedError(Exception):
    """A request that will not succeed, or has not within its tries. status 0: no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.status = status
        super().__init__(text)


class Poster:
    """Posts until something is taken or given up; counts tries after the first."""

    def __init__(self, session: aiohttp.ClientSession, stopping: asyncio.Event) -> None:
        self._session, self._stopping = session, stopping
        self.retries = 0

    async def post(self, url: str, body: bytes) -> bytes:
        """What the receiver answered."""
        for attempt in range(TRIES):
            wait_s, status = FIRST_PAUSE_S * 2**attempt, 0
            try:
                async with self._session.post(
                    url, data=body, headers=HEADERS, allow_redirects=False
                ) as answer:
                    status = answer.status
                    if 200 <= status < 300:
                        return await answer.content.read(ANSWER_BYTES)
                    why = f"{url} answered {status}"
                    if status not in AGAIN:
                        raise PostFailedError(why, status)
                    wait_s = max(wait_s, _seconds(answer.headers.get("Retry-After", "")))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
                why = f"{url}: {exc or 'no answer in time'}"
            last = attempt == TRIES - 1
            if last or await self._stopped_within(min(wait_s, LONGEST_PAUSE_S)):
                break
            self.retries += 1
        raise PostFailedError(f"{why}, {attempt + 1} times", status)

    async def _stopped_within(self, pause_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return False
        return True


def _seconds(text: str) -> float:
    """A Retry-After in seconds; a date is not waited for."""
    return float(text) if text.isdecimal() else 0.0
