"""What a job was given, as its record may hold it: no content, and no address that holds a key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from bus.messages import Input, InputTaken


def inputs_taken(inputs: Sequence[Input]) -> list[InputTaken]:
    """Each input's name, its address and its sha256, as far as they are known now."""
    return [
        InputTaken(
            name=one.name,
            url=_tellable(one.url),
            checksum=_checksum(one.data) if one.data else one.checksum,
        )
        for one in inputs
    ]


def _checksum(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tellable(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return "" if parts.query or "@" in parts.netloc else url
