"""Analyses of a stored evaluation: answers as rows, as frames for notebooks, as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from analysis.answers import Answer
from analysis.evidence import Evidence
from analysis.fifteen import ANALYSES, answers, asked_of, chosen
from analysis.summary import summarize
from bus.errors import BusError, InputError
from bus.messages import Ceiling, JobStarted, Message

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from mlmodelscope.client import Client

KERNELS = {"A8", "A9", "A10", "A11", "A12", "A13", "A14", "A15"}


class Analyses:
    """A1 to A15 (and `theoretical`) of one evaluation, by number or by name.

    `analyses.frame("A2")` is a pandas frame, `analyses.figure("A2")` a plotly figure.
    """

    def __init__(self, evidence: Evidence, batch_size: int = 0) -> None:
        self._evidence, self._asked = evidence, asked_of(evidence, batch_size)

    @property
    def evaluation_id(self) -> str:
        """Whose analyses these are."""
        return self._evidence.evaluation_id

    @property
    def names(self) -> dict[str, str]:
        """Number -> name of every analysis there is."""
        return {number: name for number, (name, _) in ANALYSES.items()}

    def answer(self, what: str) -> Answer:
        """The rows of one analysis, with what they lack; InputError where there are none."""
        (number,) = chosen(what)
        found = self.answers(number)[0]
        if found.unavailable:
            raise InputError(f"{number} ({found.name}): {found.unavailable}")
        return found

    def answers(self, what: str = "all") -> list[Answer]:
        """Several: those without rows say why in `unavailable`."""
        return [self._named(answer) for answer in answers(self._asked, chosen(what))]

    def frame(self, what: str, kind: Literal["pandas", "polars"] = "pandas") -> Any:
        """The rows of one analysis as a data frame; what is n/a is missing there."""
        rows = self.answer(what).table()
        if kind == "polars":
            polars = _library("polars")
            return polars.DataFrame([_flat(row) for row in rows], infer_schema_length=None)
        return _library("pandas").DataFrame([_flat(row) for row in rows])

    def figure(self, what: str) -> Figure:
        """The plot of one analysis."""
        from mlmodelscope import plots

        return plots.figure(self.answer(what))

    def _named(self, answer: Answer) -> Answer:
        """Where there are no rows: the command that would have made them."""
        started = self._evidence.started
        if not answer.unavailable or started is None or started.recording is not None:
            return answer
        import msgspec

        level = "library" if answer.analysis in KERNELS else "framework"
        if answer.analysis == "A1":
            level = "model"
        command = f"mlmodelscope evaluate {started.model} --framework {started.framework}"
        why = f"{answer.unavailable.partition(':')[0]}: `{command} --trace {level}` measures them"
        return msgspec.structs.replace(answer, unavailable=why)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its reasons; a list of sizes as text."""
    return {
        key: "x".join(map(str, value)) if isinstance(value, list) else value
        for key, value in row.items()
        if key != "na"
    }


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as exc:
        raise InputError(f"{name} is not installed here: pip install {name}") from exc


async def analyses_of(
    client: Client, evaluation: str, batch_size: int = 0, timeline: bool = True
) -> Analyses:
    """Fetch what the analyses of a stored evaluation need. timeline: whether layers are asked for.

    InputError for one that is still running, or that ended without a single predict.
    """
    evaluation_id, facts, _ = await client.stored(evaluation)
    refuse_unfinished(evaluation_id, facts)
    spans = await client.timeline(evaluation_id) if timeline else None
    ceilings = await known_ceilings(client, facts)
    return Analyses(Evidence(facts, spans, ceilings=ceilings), batch_size)


def refuse_unfinished(evaluation_id: str, facts: list[Message]) -> None:
    """InputError for an evaluation that runs, or that did not end well."""
    result = summarize(facts)
    if result.state == "running":
        raise InputError(
            f"evaluation {evaluation_id[:8]} is still running: wait until it has ended "
            f"(`mlmodelscope show {evaluation_id[:8]}`)"
        )
    if result.state != "finished":
        why = result.failures[0].text if result.failures else "it was stopped"
        raise InputError(f"evaluation {evaluation_id[:8]} {result.state}: {why}; evaluate it again")


async def known_ceilings(client: Client, facts: list[Message]) -> list[Ceiling]:
    """What is known by now of the machine of a job whose own record holds none."""
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    node = started.node if started else None
    if node is None or node.ceilings or (started and started.recording):
        return []
    try:
        nodes = await client.nodes()
    except BusError:
        return []  # nobody to ask: the record alone counts
    same = [n.node for n in nodes if n.node.machine_id == node.machine_id and n.node.ceilings]
    return same[0].ceilings if same else []
