"""The command study: a grid with leveled traces, and the figures and tables of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mlmodelscope.asked import listed
from mlmodelscope.exits import guarded
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Several = Annotated[list[str] | None, Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="")]


def study(
    file: Path | None = None,
    *,
    models: str = "",
    frameworks: str = "",
    nodes: str = "",
    batch_size: Annotated[str, Parameter(name=("--batch-size", "--batch-sizes"))] = "",
    precisions: str = "",
    dataset: str = "",
    limit: int | None = None,
    input: Several = None,
    runs: int | None = None,
    threads: int | None = None,
    trace: str = "",
    baseline: str = "",
    requires: Several = None,
    name: str = "",
    title: str = "",
    no_ceilings: Flag = False,
    stored: Flag = False,
    again: Flag = False,
    fail_fast: Flag = False,
    site: Path | None = None,
    what: str = "",
    output: Literal["table", "json", "csv", "png", "html"] = "table",
    to: Path | None = None,
    top: int = 30,
    where: Where = DEFAULT,
) -> int:
    """Study models: batch sizes swept on frameworks and nodes, traces at the peaks, accuracy.

    What was measured stays measured: the same study again goes on from where it was, and a whole
    one is only read and shown. A cell that failed is a row with its reason, and is tried again.

    For example:

        mlmodelscope study examples/study.yml --site study/

        mlmodelscope study --models MNIST-CNN --frameworks onnxruntime,pytorch,tensorflow \
--batch-size 1,2,4,8 --dataset MNIST-5k --limit 500

        mlmodelscope study examples/study.yml --stored --what bounds --output csv

        mlmodelscope study examples/study.yml --stored --what latency-by-batch --output png \
--to figures/

        mlmodelscope study examples/study.yml --nodes all --baseline node-1 --what all

    Leaves with 1 where a cell failed; its figures are shown all the same.

    Parameters
    ----------
    file
        A study's file (YAML, docs/studies.md); what is given beside it wins over what it says.
    models
        Models, separated by commas: names, `name@range`, or manifests' files.
    frameworks
        Frameworks, separated by commas: `name` or `name@range`. Default: the model's own choice.
    nodes
        Nodes by id, separated by commas; any (the default); all: each node that fits; or a number:
        so many of them.
    batch_size
        Batch sizes, separated by commas.
    precisions
        float32, float16, bfloat16, int8: those that the frameworks can.
    dataset
        Measure accuracy on it too: a name, or a file.
    limit
        The first so many items of the dataset.
    input
        A file, a folder or a URL; may be given several times. Default: the models' own samples.
    runs
        Measured queries a cell of the sweep.
    threads
        Threads of the framework within one operator.
    trace
        How deep to look at the batch size of each model's peak: library, unless it is said; none,
        for no traces; hardware for energy.
    baseline
        The node that others are held against. Default: the first by its name.
    requires
        Constraints on the nodes, as for `evaluate`.
    name
        Another name makes it another study: nothing of it was done.
    title
        What the site is called.
    no_ceilings
        Do not have machines measure what they can do at most (half a minute each, once): without
        that nothing can be said of what bounds a model.
    stored
        Measure nothing: show what is stored of it.
    again
        Measure everything anew.
    fail_fast
        Begin no further cell once one has failed.
    site
        Write everything as a static site into this folder.
    what
        Figures by name, separated by commas, or all (docs/studies.md lists them).
    output
        table for people, json or csv for programs; png and html are files: pictures of the plots,
        and pages with plots and rows.
    to
        The folder for files: of png and html, and of csv with several figures.
    top
        So many rows of a table; 0: all. Files and json always hold all.
    """
    given = {
        "models": listed(models),
        "frameworks": listed(frameworks),
        "nodes": listed(nodes),
        "batch_sizes": listed(batch_size),
        "precisions": listed(precisions),
        "dataset": dataset,
        "limit": limit,
        "inputs": input,
        "runs": runs,
        "threads": threads,
        "trace": trace,
        "baseline": baseline,
        "requires": requires,
        "name": name,
        "title": title,
        "ceilings": False if no_ceilings else None,
    }

    def begin() -> int:
        from mlmodelscope import studies, study_run, study_show

        wanted = studies.study_of(file, given, again)
        how = study_run.How(fail_fast=fail_fast, stored=stored)
        form = study_show.checked(study_show.Form(what, output, to, site, top))

        async def command(client: Client) -> int:
            return await study_show.study(client, wanted, how, form)

        return run(command, where)

    return guarded(begin)
