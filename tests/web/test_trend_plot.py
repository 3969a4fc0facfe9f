"""A trend as a drawing: where its points and changes lie, and what is said of it in words."""

from __future__ import annotations

from analysis.trends import Trend, TrendPoint, trends
from bus.messages import HistoryRow, RunSummary
from web.pages import environment
from web.trend_plot import HEIGHT, MARGIN, WIDTH, plot


def history(*medians_ns: int, later: str = "2") -> list[HistoryRow]:
    """Evaluations in the order of time; from the ninth on with another framework."""
    return [
        HistoryRow(
            evaluation_id=f"{at:032x}",
            at_ns=at + 1,
            model="M",
            framework="<b>ort</b>",
            framework_version="1" if at < 8 else later,
            node_id="n",
            state="finished",
            runs=[RunSummary(run=0, batch_size=1, level="model", queries=9, median_ns=median)],
        )
        for at, median in enumerate(medians_ns)
    ]


WOBBLE = (0, 1, -1, 2, -2, 1, 0, -1)
CHANGED = history(*(10_000 + w for w in WOBBLE), *(20_000 + w for w in WOBBLE))


def test_points_lie_in_the_order_of_time_inside_the_drawing() -> None:
    (trend,) = trends(CHANGED)
    drawn = plot(trend, now_ns=10**9)
    assert [m.x for m in drawn.marks] == sorted(m.x for m in drawn.marks)
    assert drawn.marks[0].x == MARGIN and drawn.marks[-1].x == WIDTH - MARGIN
    assert all(0 <= m.y <= HEIGHT for m in drawn.marks)
    assert drawn.marks[0].y > drawn.marks[-1].y  # slower is higher
    (cut,) = drawn.cuts
    assert drawn.marks[7].x < cut < drawn.marks[8].x
    assert [line.y for line in drawn.stretches] == [drawn.marks[0].y, drawn.marks[8].y]
    assert drawn.summary.endswith("one change, at the last ×2.00 slower, with framework 1 → 2")


def test_noise_is_not_drawn_as_large_as_a_change() -> None:
    (trend,) = trends(history(100, 101, 99))
    drawn = plot(trend, now_ns=10**9)
    heights = [m.y for m in drawn.marks]
    assert max(heights) - min(heights) < HEIGHT / 10
    assert (drawn.low, drawn.high) == ("0.000 ms", "0.000 ms")


def test_one_point_is_a_trend_too() -> None:
    point = TrendPoint(evaluation_id="a" * 32, at_ns=1, median_ns=5)
    drawn = plot(Trend(model="M", framework="f", node_id="n", batch_size=1, points=[point]), 2)
    assert len(drawn.marks) == 1 and drawn.cuts == []


def test_a_trend_is_words_too_and_everything_is_escaped() -> None:
    (trend,) = trends(CHANGED)
    made = environment().from_string('{% import "about.html" as p %}{{ p.trend(plot) }}')
    text = made.render(plot=plot(trend, now_ns=10**9))
    assert "<b>ort</b>" not in text and "&lt;b&gt;ort&lt;/b&gt; on n, batch 1" in text
    assert 'role="img"' in text and "×2.00 from" in text and "framework 1 → 2" in text
    assert text.count("<circle") == 16 and text.count('<th scope="row">') == 16
