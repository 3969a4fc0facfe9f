"""The command line: what a person types, checked; the work is done in the modules beside it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from bus.errors import InputError, UnknownNameError
from mlmodelscope import cli_accuracy as accuracies
from mlmodelscope import (
    cli_analyze,
    cli_dead,
    cli_pitfall,
    cli_secrets,
    cli_study,
    cli_web,
    cli_zoo,
)
from mlmodelscope import cli_compare as comparisons
from mlmodelscope import cli_fleet as fleet
from mlmodelscope import cli_history as before
from mlmodelscope import cli_image as images
from mlmodelscope import cli_import as importing
from mlmodelscope import cli_manifests as manifests
from mlmodelscope import cli_models as known
from mlmodelscope import cli_recommend as advice
from mlmodelscope import cli_report as reports
from mlmodelscope import cli_services as services
from mlmodelscope import cli_timelines as timelines
from mlmodelscope.asked import Asked, read_settings
from mlmodelscope.cli_load import NO_LOAD, Load
from mlmodelscope.exits import OK, USAGE
from mlmodelscope.on_nodes import ANYWHERE, Nodes
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


Output = Literal["table", "json", "csv"]

app = App(
    name="mlmodelscope",
    help="How accurate, how fast and how costly is this model, on that framework, on that "
    "machine, and why?\n\nExit codes: 0 done; 1 the evaluation (or the system) failed; 2 wrong "
    "usage; 3 no node fits; 4 a comparison found something worse; 5 no verdict may be drawn, or "
    "nothing be recommended. Each command has examples: `mlmodelscope evaluate --help`.",
    version_flags=["--version"],
    help_format="markdown",
)


@app.command
def evaluate(
    model: str = "",
    *,
    models: str = "",
    all: bool = False,
    input: list[str] | None = None,
    batch_size: str = "1",
    runs: int = 100,
    warmup: int = 5,
    trace: str = "model",
    no_leveled: Annotated[bool, Parameter(negative="")] = False,
    framework: str = "",
    device: str = "cpu",
    node: str = "",
    environment: str = "",
    container: Annotated[bool, Parameter(negative="")] = False,
    threads: int = 0,
    precision: str = "",
    setting: list[str] | None = None,
    serialize: bool = False,
    seed: int = 0,
    top: int = 5,
    full_outputs: bool = False,
    timeout: float = 600.0,
    fail_fast: bool = False,
    output: Output = "table",
    timeline: Path | None = None,
    traceparent: Annotated[str, Parameter(env_var="TRACEPARENT")] = "",
    otlp_endpoint: str = "",
    on: Nodes = ANYWHERE,
    load: Load = NO_LOAD,
    where: Where = DEFAULT,
) -> int:
    """Evaluate a model: what it says, how fast it is, and where the time goes.

    For example:

        mlmodelscope evaluate EfficientNet-Lite0

        mlmodelscope evaluate EfficientNet-Lite0 --input photo.jpg --batch-size 1,2,4,8 \
--trace framework

        mlmodelscope evaluate EfficientNet-Lite0@^1 --framework 'onnxruntime@>=1.20' --output json

        mlmodelscope evaluate ./my-model.yml --input images/ --runs 500 --threads 1

        mlmodelscope evaluate MNIST-CNN --scenario server --target-qps 200 --latency-bound 15

        mlmodelscope evaluate MNIST-CNN --until-ci 2%

        mlmodelscope evaluate MNIST-CNN --all

        mlmodelscope evaluate MNIST-CNN --nodes all --requires 'cores>=8, avx2' --wait 60

        mlmodelscope evaluate --models MNIST-CNN,EfficientNet-Lite0 --framework pytorch \
--precision float32,bfloat16

    Parameters
    ----------
    model
        A model's name, `name@range` (`AlexNet@^1`), or the path of a manifest (.yml).
    models
        Several models, separated by commas, or `all`: run in parallel, shown side by side.
    all
        Run on every node, framework and environment that fits, in parallel, side by side.
    input
        A file, a folder or a URL; may be given several times. Default: the model's own samples.
    batch_size
        Batch sizes to measure, separated by commas.
    runs
        Measured queries per batch size. p99 needs 100.
    warmup
        Queries before the measured ones, not counted.
    trace
        How deep to look: none, application, model, framework, library, system, hardware or full.
        Deeper levels are measured in runs of their own, so that they do not slow the others.
    no_leveled
        Measure once, at the deepest level: quicker, and every time contains the cost of looking.
    framework
        `name` or `name@range` of the framework to run it on.
    device
        cpu, gpu or other.
    node
        Run on this node and no other.
    environment
        Run in this one of a node's environments (see `mlmodelscope node --environment`).
    container
        Run in the container that the manifest names, also where a node has the framework itself;
        --setting container.memory=2GiB, container.cpus=2 and container.network=on are its limits.
    threads
        Threads of the framework within one operator; 0 leaves it to the framework.
    precision
        float32, float16, bfloat16 or int8, where the framework can; several, separated by commas,
        are run each and shown side by side.
    setting
        NAME=VALUE: a setting of the framework (docs/frameworks.md), or profile.NAME=VALUE of a
        profiler (docs/levels.md); may be given several times.
    serialize
        Let the framework do one thing at a time (one thread, operators one after the other, CUDA
        launches that wait): slower, and every span's parent is clear.
    seed
        Seed of everything that is drawn.
    top
        How many classes to show per input.
    full_outputs
        Store every class's probability for every input (`mlmodelscope divergence` needs it).
    timeout
        Seconds after which the job is stopped.
    fail_fast
        Of several, begin no further one once one has failed.
    output
        table for people, json or csv for programs.
    timeline
        Also write the timeline there; the ending says how (see `mlmodelscope timeline --help`).
    traceparent
        W3C: the trace that the spans join when they are exported as OTLP.
    otlp_endpoint
        Where the collector is to push the spans; its settings must allow the host.
    """
    asked = Asked(
        model=model,
        inputs=tuple(input or ()),
        batch_sizes=_batch_sizes(batch_size),
        runs=runs,
        warmup=warmup,
        trace=_level(trace),
        framework=framework,
        device=device,
        node=node,
        threads=threads,
        seed=seed,
        top_k=top,
        timeout_s=timeout,
        environment=environment,
        leveled=not no_leveled,
        traceparent=traceparent,
        otlp_endpoint=otlp_endpoint,
        serialize=serialize,
        container=container,
        full_outputs=full_outputs,
    )

    async def command(client: Client) -> int:
        from mlmodelscope import evaluating, load_columns, loads, many, spread

        scenario = loads.scenario_of(load)
        wish = replace(asked, settings=read_settings(setting), on=on.asked(), scenario=scenario)
        grid = many.grid(wish, many.chosen(model, models), all, precision, fail_fast)
        kind = many.Kind(evaluating.submit)
        if scenario is not None:
            kind = many.Kind(evaluating.submit, load_columns.SIDE_BY_SIDE, load_columns.in_a_row)
        if grid.one and grid.wish.on.spread != 1:
            if timeline is not None:
                raise InputError("--timeline: one node is expected; use `mlmodelscope timeline`")
            logs = load.mlperf_logs
            return await spread.evaluate(client, grid.wish, kind, output, logs)
        if grid.one:
            files = evaluating.Files(timeline, load.mlperf_logs)
            return await evaluating.evaluate(client, grid.wish, output, files)
        if timeline is not None:
            raise InputError("--timeline: one evaluation is expected; use `mlmodelscope timeline`")
        if load.mlperf_logs is not None:
            raise InputError("--mlperf-logs: one model in one place is expected")
        return await many.evaluate(client, grid, kind, output)

    return run(command, where)


@app.command
def show(evaluation: str, *, output: Output = "table", where: Where = DEFAULT) -> int:
    """Show a past evaluation as `evaluate` printed it.

    For example:

        mlmodelscope show last

        mlmodelscope show 4bf92f35 --output json

    Parameters
    ----------
    evaluation
        Its id, the first digits of it (4 or more), or `last`.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import evaluating

        return await evaluating.show(client, evaluation, output)

    return run(command, where)


@app.command
def delete(evaluation: str, *, where: Where = DEFAULT) -> int:
    """Forget an evaluation: its facts, spans and timeline.

    For example:

        mlmodelscope delete 4bf92f35
    """

    async def command(client: Client) -> int:
        from mlmodelscope import listing

        return await listing.delete(client, evaluation)

    return run(command, where)


app.command(fleet.nodes)
app.command(fleet.queue)
app.command(fleet.usage)
app.command(fleet.grid)
app.command(cli_study.study)
app.command(known.models)
app.command(known.model)
app.command(accuracies.accuracy)
app.command(before.history)
app.command(before.trends)
app.command(accuracies.datasets)
app.command(accuracies.predictions)
app.command(accuracies.disagree)
app.command(comparisons.compare)
app.command(comparisons.divergence)
app.command(comparisons.ab)
app.command(cli_pitfall.pitfall)
app.command(importing.import_profiles, name="import")
app.command(timelines.timeline)
app.command(cli_analyze.analyze)
app.command(cli_analyze.ceilings)
app.command(reports.report)
app.command(advice.recommend)
app.command(manifests.check)
app.command(manifests.publish)
app.command(manifests.unpublish)
app.command(cli_zoo.zoo)
app.command(images.app, name="image")
app.command(cli_dead.dead)
app.command(services.up)
app.command(cli_web.web)
app.command(cli_secrets.secrets)
app.command(services.coordinator)
app.command(services.collector)
app.command(services.node, name="node")


def main(arguments: list[str] | None = None) -> None:
    """The entry point of `mlmodelscope`: parse, run, and leave with a documented exit code."""
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        code = USAGE  # cyclopts has said what was wrong
    sys.exit(code if isinstance(code, int) else OK)


def _batch_sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise _usage(f"--batch-size {text!r}: expected whole numbers like 1,2,4,8")
    return tuple(dict.fromkeys(sizes))


def _level(text: str) -> Any:
    from bus.messages import LEVELS

    if text not in LEVELS:
        raise _usage(str(UnknownNameError("trace level", text, LEVELS)))
    return text


def _usage(text: str) -> SystemExit:
    print(text, file=sys.stderr)
    return SystemExit(USAGE)
