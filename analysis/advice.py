"""Which model, framework, machine and batch size to use, of those measured, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from analysis.pareto import beaten_by
from analysis.recommend import by_speed

Verdict = Literal["recommended", "beaten", "outside", "not known"]
ORDER: tuple[Verdict, ...] = ("recommended", "beaten", "outside", "not known")


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One way to have predictions, as it was measured. latency_ns: of a predict, at the percentile
    that was asked for; low_ns, high_ns: the 95 % interval of its median. accuracy: as a part of 1
    (or in the figure's own unit), on the dataset in question. cost: of 1,000 inputs, in the
    currency of the nodes' label `price`. na: for each field that is None, the reason.
    """

    model: str
    version: str
    framework: str
    framework_version: str
    node_id: str
    settings: dict[str, str | int] = {}
    batch_size: int
    queries: int
    evaluation_id: str
    latency_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    throughput: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    figure: str = ""
    items: int = 0
    accuracy_evaluation_id: str = ""
    cost: float | None = None
    na: dict[str, str] = {}

    @property
    def set_to(self) -> str:
        """Its settings in words."""
        return ", ".join(f"{name} {value}" for name, value in sorted(self.settings.items()))

    @property
    def name(self) -> str:
        """What is told apart from the others."""
        where = f"{self.framework} {self.framework_version} on {self.node_id}"
        more = f" ({self.set_to})" if self.settings else ""
        return f"{self.model} {self.version}, {where}{more}, batch {self.batch_size}"

    def apart_from(self, other: Option) -> str:
        """In what it is another than the other one."""
        names = ("model", "version", "framework", "framework_version", "node_id", "set_to")
        told = [
            getattr(self, name) for name in names if getattr(self, name) != getattr(other, name)
        ]
        if self.batch_size != other.batch_size or not told:
            told.append(f"batch {self.batch_size}")
        return " ".join(filter(None, told))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold; None: anything. accurate: whether accuracy is looked at at all."""

    max_latency_ns: float | None = None
    min_accuracy: float | None = None
    max_cost: float | None = None
    min_throughput: float | None = None
    accurate: bool = False


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of an option, and why."""

    option: Option
    verdict: Verdict
    reason: str


def advise(options: Sequence[Option], limits: Limits) -> list[Choice]:
    """Each option with its verdict: the Pareto front first, and in it the fastest first.

    The front is over latency, throughput, accuracy where it is looked at, and cost where every
    option within the limits has one. What lacks a figure that a limit needs is not known, unless
    another limit rules it out.
    """
    choices: list[Choice] = []
    able: list[Option] = []
    for option in options:
        if missed := [*_missed(option, limits)]:
            choices.append(Choice(option=option, verdict="outside", reason="; ".join(missed)))
        elif lacking := [*_lacking(option, limits)]:
            choices.append(Choice(option=option, verdict="not known", reason="; ".join(lacking)))
        else:
            able.append(option)
    costed = bool(able) and all(option.cost is not None for option in able)
    points = [_point(option, limits, costed) for option in able]
    beaten = beaten_by(points)
    front = [option for option, by in zip(able, beaten, strict=True) if by is None]
    for option, by in zip(able, beaten, strict=True):
        verdict: Verdict = "recommended" if by is None else "beaten"
        reason = (
            _praise(option, front, limits, costed)
            if by is None
            else f"{able[by].apart_from(option)} is {_better(able[by], option, limits, costed)}"
        )
        choices.append(Choice(option=option, verdict=verdict, reason=reason))
    times = {str(at): choice.option.latency_ns for at, choice in enumerate(choices)}
    ordered = [choices[int(at)] for at, _ in by_speed(times)]
    return sorted(ordered, key=lambda choice: ORDER.index(choice.verdict))


def _lacking(option: Option, limits: Limits) -> Iterator[str]:
    needed = ["latency_ns", "throughput"]
    needed += ["accuracy"] if limits.accurate or limits.min_accuracy is not None else []
    needed += ["cost"] if limits.max_cost is not None else []
    for name in needed:
        if getattr(option, name) is None:
            yield option.na.get(name, f"no {name}")


def _missed(option: Option, limits: Limits) -> Iterator[str]:
    """Each limit that does not hold, of what is known."""
    for value, most, shown in (
        (option.latency_ns, limits.max_latency_ns, "latency {} ms is above {} ms"),
        (option.cost, limits.max_cost, "1,000 inputs cost {}, above {}"),
    ):
        if value is not None and most is not None and value > most:
            scale = 1e6 if "ms" in shown else 1.0
            yield shown.format(f"{value / scale:.4g}", f"{most / scale:.4g}")
    for value, least, shown in (
        (option.throughput, limits.min_throughput, "throughput {}/s is below {}/s"),
        (option.accuracy, limits.min_accuracy, f"{option.figure} {{}} is below {{}}"),
    ):
        if value is not None and least is not None and value < least:
            yield shown.format(f"{value:.4g}", f"{least:.4g}")


def _point(option: Option, limits: Limits, costed: bool) -> list[float]:
    """Where it lies; the least is best in each."""
    point = [option.latency_ns or 0.0, -(option.throughput or 0.0)]
    if limits.accurate or limits.min_accuracy is not None:
        point.append(-(option.accuracy or 0.0))
    if costed:
        point.append(option.cost or 0.0)
    return point


def _words(limits: Limits, costed: bool) -> list[tuple[str, str]]:
    """Of each respect, in the order of `_point`: what the best is, and what a better one is."""
    words = [("the fastest", "faster"), ("the highest throughput", "of higher throughput")]
    if limits.accurate or limits.min_accuracy is not None:
        words.append(("the most accurate", "more accurate"))
    return [*words, ("the cheapest", "cheaper")] if costed else words


def _praise(option: Option, front: Sequence[Option], limits: Limits, costed: bool) -> str:
    """In what it is the best of the front, and what is not sure about it."""
    own = _point(option, limits, costed)
    points = [_point(other, limits, costed) for other in front]
    best = [
        words
        for at, (words, _) in enumerate(_words(limits, costed))
        if own[at] == min(point[at] for point in points)
        and (len(points) == 1 or own[at] < max(point[at] for point in points))
    ]
    said = [" and ".join(best) if best else "in between: none is better in every respect"]
    bound, least = limits.max_latency_ns, limits.min_accuracy
    low, high = option.low_ns, option.high_ns
    if bound is not None and low is not None and high is not None and low <= bound < high:
        said.append("the latency's 95 % interval reaches beyond the limit")
    low = option.accuracy_low
    if least is not None and low is not None and low < least:
        said.append(f"the accuracy's 95 % interval begins at {low:.4g}")
    return "; ".join(said)


def _better(one: Option, two: Option, limits: Limits, costed: bool) -> str:
    """In what one is better than two; in the rest it is as good."""
    pairs = zip(_point(one, limits, costed), _point(two, limits, costed), strict=True)
    words = _words(limits, costed)
    better = [words[at][1] for at, (a, b) in enumerate(pairs) if a < b]
    alike = "" if len(better) == len(words) else ", and as good in the rest"
    return " and ".join(better) + alike
