"""Where the pages about evaluations lie, with their sections, files and pictures."""

from __future__ import annotations

from aiohttp import web

from web import evaluation_files, evaluation_parts, page_evaluate, page_evaluation, page_together
from web.evidence import Evidences
from web.state import State

ONE = "/evaluations/{evaluation}"
SAID = ONE + r"/said/{at:\d{1,6}}"
LOOKED_AT = {
    "/evaluate": page_evaluate.form,
    "/evaluate/places": page_evaluate.places,
    ONE: page_evaluation.evaluation,
    f"{ONE}/queue": page_evaluation.queue,
    f"{ONE}/timeline": page_evaluation.timeline,
    f"{ONE}/layers": evaluation_parts.layers,
    f"{ONE}/analyses": evaluation_parts.analyses,
    f"{ONE}/metrics": evaluation_parts.metrics,
    f"{ONE}/judged": evaluation_parts.judged,
    f"{ONE}/completeness": evaluation_parts.completeness,
    f"{ONE}/trials": page_together.trials,
    f"{ONE}/plot": evaluation_files.plot,
    f"{ONE}/times.csv": evaluation_files.latency_csv,
    f"{SAID}/map.png": evaluation_files.class_map,
    f"{SAID}/image.png": evaluation_files.image,
    SAID + r"/mask-{box:\d{1,5}}.png": evaluation_files.mask,
    "/samples/{name}": evaluation_files.sample,
    "/plots/plotly.js": evaluation_files.drawing,
    "/compare": page_together.choose,
    "/together": page_together.together,
    "/together/verdict": page_together.verdict,
    "/together/layers": page_together.layers,
    "/together/layers-plot": page_together.layers_plot,
    "/together/plot": page_together.over_batches,
}
DONE = {
    "/evaluate": page_evaluate.run,
    f"{ONE}/cancel": page_evaluation.cancel,
    f"{ONE}/again": page_evaluation.again,
    f"{ONE}/trials": page_together.add_trials,
}


def add(app: web.Application) -> None:
    """All of them, and what their sections share."""
    app[Evidences.KEY] = Evidences(app[State.KEY])
    for path, handler in LOOKED_AT.items():
        app.router.add_get(path, handler)
    for path, handler in DONE.items():
        app.router.add_post(path, handler)
