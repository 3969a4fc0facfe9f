"""The OpenTelemetry span within which a caller stands, where its program has such a thing."""

from __future__ import annotations

import sys


def current_traceparent() -> str:
    """W3C traceparent of the active span, or nothing.

    Only a program that has imported OpenTelemetry can have one, so nothing is imported here.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"
