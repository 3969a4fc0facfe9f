"""Any other Chrome trace: what took time becomes application spans, since nothing says more.

A category that is the name of one of our levels is taken at its word: so are our own timelines.
"""

from __future__ import annotations

from bus.messages import LEVELS
from mlmodelscope.importing import nesting
from mlmodelscope.importing.events import Event, Trace
from mlmodelscope.importing.phases import SPAN, Phases
from mlmodelscope.importing.profile import APPLICATION, MODEL, UNKNOWN, Options, Profile

EPOCH_NS = 10**18
"""Times beyond this, September 2001, are taken for the epoch's."""


def read(trace: Trace, options: Options) -> Profile:
    """A Chrome trace as a profile."""
    profile = Profile("Chrome trace", UNKNOWN)
    profile.about = trace.about
    spans = profile.spans

    def complete(event: Event, times_ns: tuple[int, int]) -> str:
        category = str(event.cat)
        level = LEVELS.index(category) if category in LEVELS[1:] else APPLICATION
        thread = profile.threads.number(event.pid, event.tid)
        spans.add(level, category, event, times_ns, thread)
        return SPAN

    Phases(profile, 0, complete).walk(trace.events)
    known = len(spans) > 0 and min(spans.start_ns) > EPOCH_NS
    profile.clock = "the epoch, in microseconds" if known else "an instant that the file leaves out"
    if options.call:
        found = [row for row, name in enumerate(spans.name) if options.call in name]
        profile.calls = nesting.outermost(spans, found)
        for row in profile.calls:
            spans.level[row] = MODEL
    else:
        profile.calls = [row for row in range(len(spans)) if spans.level[row] == MODEL]
    return profile
