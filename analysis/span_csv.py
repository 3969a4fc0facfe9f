"""A timeline's spans as CSV (RFC 4180), one a line below a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from analysis.recording import Recording
from analysis.span_rows import COLUMNS, pieces


def span_csv(recording: Recording) -> Iterator[bytes]:
    """The file in pieces."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for rows in pieces(recording.timeline):
        writer.writerows(rows)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()
