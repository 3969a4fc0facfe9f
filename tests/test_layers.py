"""Who may import whom, and where each outside library has its home."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "bus": set(),
    "manifests": {"bus"},
    "predictor_node": {"bus"},
    "collector": {"bus"},
    "analysis": {"bus", "collector"},
    "coordinator": {"bus", "manifests", "analysis"},
    "mlmodelscope": {"bus", "manifests", "analysis", "collector"},
    "web": {"bus", "manifests", "analysis", "collector", "mlmodelscope"},
}
# Narrower than the table: of these rooms, only these modules may be used.
ONLY = {
    ("analysis", "collector"): (
        "collector.timeline",
        "collector.otlp",
        "collector.otlp_metrics",
    ),
    ("coordinator", "analysis"): ("analysis.recommend",),
    ("mlmodelscope", "collector"): ("collector.timeline",),
    ("web", "collector"): ("collector.timeline",),
}
SEES_ALL = "mlmodelscope/local.py"
WORKER = "predictor_node/worker"
WORKER_MAY = {"numpy", "msgpack", "PIL"} | set(sys.stdlib_module_names)
# Imported inside the functions that need them, nowhere else in the worker.
WORKER_HOMES = {
    "tokenizers": {f"{WORKER}/modalities/text.py"},
    "cv2": {f"{WORKER}/modalities/decoders/opencv.py"},
    "turbojpeg": {f"{WORKER}/modalities/decoders/turbojpeg.py"},
    "pynvml": {f"{WORKER}/profilers/nvml.py"},
}
# A framework's library is known to its own modules; what else one needs, it imports in a function.
FRAMEWORKS = {
    "onnxruntime": {"onnxruntime", "onnx"},
    "pytorch": {"torch", "safetensors"},
    "tensorflow": {"tensorflow", "keras", "google", "ai_edge_litert"},
    "mxnet": {"mxnet"},
}
PROFILERS = {"library": {"torch"}}  # which is told to let its libraries speak
WEB = {p.relative_to(ROOT).as_posix() for p in (ROOT / "web").glob("*.py")}
HOMES = {
    "jinja2": {"web/pages.py", "web/rendering.py"},
    "nats": {
        "bus/connection.py",
        "bus/consumer.py",
        "bus/buckets.py",
        "bus/dead_letters.py",
        "bus/topology.py",
        "bus/system.py",
    },
    "msgpack": {"predictor_node/process.py", f"{WORKER}/frames.py", f"{WORKER}/trace.py"},
    "zstandard": {"bus/codec.py"},
    "docker": {"predictor_node/containers.py"},
    "requests": {"predictor_node/containers.py"},
    "aiohttp": {
        "bus/service.py",
        "predictor_node/downloads.py",
        "collector/otlp_post.py",
        "collector/otlp_push.py",
        "mlmodelscope/perfetto_view.py",
        *WEB,
    },
    "cryptography": {"mlmodelscope/certificates.py"},
    "opentelemetry": {"collector/otlp.py", "collector/otlp_metrics.py"},
    "google": {
        "collector/otlp.py",
        "collector/otlp_metrics.py",
        f"{WORKER}/frameworks/tensorflow_graphs.py",
    },
    "perfetto": {"analysis/perfetto_trace.py"},
    "pyarrow": {"analysis/span_parquet.py"},
    "prometheus_client": {"bus/service.py"},
    "yaml": {"manifests/reading.py"},
    "jsonschema": {"manifests/faults.py"},
    "semver": {"manifests/version.py"},
    "nodesemver": {"manifests/version.py"},
    "pymongo": {"collector/store.py"},
    "bson": {"collector/store.py"},
    "cyclopts": {
        "mlmodelscope/cli.py",
        "mlmodelscope/cli_accuracy.py",
        "mlmodelscope/cli_load.py",
        "mlmodelscope/cli_secrets.py",
        "mlmodelscope/cli_image.py",
        "mlmodelscope/cli_fleet.py",
        "mlmodelscope/on_nodes.py",
        "mlmodelscope/cli_compare.py",
        "mlmodelscope/cli_pitfall.py",
        "mlmodelscope/cli_report.py",
        "mlmodelscope/cli_dead.py",
        "mlmodelscope/cli_services.py",
        "mlmodelscope/cli_study.py",
        "mlmodelscope/cli_timelines.py",
        "mlmodelscope/cli_web.py",
        "mlmodelscope/where.py",
    },
    "pycocotools": {"analysis/detection.py"},
    "plotly": {
        f"mlmodelscope/{name}.py"
        for name in (
            "plots",
            "plots_roofline",
            "plots_comparison",
            "plots_study",
            "analyses",
            "page",
        )
    },
    "uvloop": {"bus/loop.py"},
    **WORKER_HOMES,
    "pynvml": {"predictor_node/capabilities.py", f"{WORKER}/profilers/nvml.py"},
}
FILES = sorted(p for room in MAY_IMPORT for p in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every absolute module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room, where = path.relative_to(ROOT).parts[0], path.relative_to(ROOT).as_posix()
    if where == SEES_ALL or where.startswith("manifests/authoring/"):
        return
    for module in imports(path):
        other = module.split(".")[0]
        if other in MAY_IMPORT and other != room:
            assert other in MAY_IMPORT[room], f"{where} may not import {module}"
            only = ONLY.get((room, other))
            inside = [m for m in only or () if module == m or module.startswith(f"{m}.")]
            assert only is None or module == other or inside, (
                f"{where} may import only {only} of {other}, not {module}"
            )


@pytest.mark.parametrize("library", HOMES)
def test_each_library_has_its_home(library: str) -> None:
    homes = HOMES[library]
    used = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if library in {module.split(".")[0] for module in imports(path)}
    }
    assert used <= homes, f"{library} strays into {sorted(used - homes)}"


def test_the_worker_knows_nothing_of_ours() -> None:
    for path in (ROOT / WORKER).rglob("*.py"):
        tops = {module.split(".")[0] for module in imports(path)}
        may = WORKER_MAY
        if path.parent.name == "frameworks":
            may = WORKER_MAY | FRAMEWORKS.get(path.stem.partition("_")[0], set())
        if path.parent.name == "profilers":
            may = WORKER_MAY | PROFILERS.get(path.stem, set())
        tops -= {*WORKER_HOMES}
        assert tops <= may, f"{path.relative_to(ROOT)} imports {sorted(tops - may)}"
