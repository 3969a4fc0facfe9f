"""How our services log: one line an event, a fixed sentence, then its ids as key=value."""

from __future__ import annotations

import logging
import sys

PLAIN = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime"}


class Line(logging.Formatter):
    """`12:00:01 INFO coordinator job placed job_id=… node_id=…`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, with what was given as `extra` at its end."""
        line = super().format(record)
        extra = {key: value for key, value in record.__dict__.items() if key not in PLAIN}
        head, newline, trace = line.partition("\n")
        return " ".join([head, *(f"{key}={value}" for key, value in extra.items())]) + (
            newline + trace
        )


def to_stderr(level: int = logging.INFO) -> None:
    """Log to stderr, our own and others' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=level, handlers=[handler], force=True)
