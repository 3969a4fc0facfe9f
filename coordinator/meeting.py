"""Does a node have what constraints ask for that are text: each that fails, with what it has.

Three things are asked of: the machine, its GPUs (one GPU must meet all that is asked of GPUs), and
the build of a framework that would run the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from bus.messages import Device, Failure, FrameworkSeen, NodeAnnounced
from coordinator.needs import ORDERED, Need
from coordinator.words import architecture, gibibytes, package_name, same_framework
from manifests.version import meets, parse_reference

ANOTHER_NODE = "another node"
OF_BUILD = ("framework", "python", "environment", "provider", "package.")
OF_MACHINE: dict[str, Callable[[NodeAnnounced], float]] = {
    "cores": lambda node: node.cores,
    "memory": lambda node: node.memory_bytes,
    "disk": lambda node: node.disk_bytes,
}
SAID: dict[str, Callable[[NodeAnnounced], list[str]]] = {
    "arch": lambda node: [node.arch],
    "os": lambda node: list(filter(None, [node.system, *node.distribution.split()[:1]])),
    "cpu.features": lambda node: node.cpu_features,
    "interconnect": lambda node: node.interconnect.split(),
}
ALLOWED: dict[str, Callable[[NodeAnnounced], bool]] = {
    "containers": lambda node: node.containers,
    "allow_code": lambda node: node.allow_code,
}


def failing_machine(needs: Iterable[Need], node: NodeAnnounced) -> list[Failure]:
    """What the machine and its GPUs lack."""
    needs = [need for need in needs if not need.name.startswith(OF_BUILD) and need.name != "node"]
    of_gpus = [need for need in needs if need.name.startswith("gpu.")]
    failures = [
        Failure(constraint=need.name, wanted=need.wanted, has=has)
        for need in needs
        if need not in of_gpus and (has := _lacks(need, node)) is not None
    ]
    return failures + _failing_gpus(of_gpus, [one for one in node.devices if one.kind == "gpu"])


def meets_pins(needs: Iterable[Need], node_id: str) -> list[Failure]:
    """`node=a` and `node!=a`: what alike nodes do not share."""
    return [
        Failure(
            constraint="node",
            wanted=need.wanted,
            has="this node" if need.operator == "!=" else ANOTHER_NODE,
        )
        for need in needs
        if need.name == "node" and not need.of_words([node_id])
    ]


def suited(
    needs: Iterable[Need], builds: Sequence[FrameworkSeen]
) -> tuple[list[FrameworkSeen], list[Failure]]:
    """The builds that meet all that is asked of a build; if none does, what fails at the best."""
    asked = [need for need in needs if need.name.startswith(OF_BUILD)]
    if not asked:
        return list(builds), []
    if not builds:
        return [], [Failure(constraint=n.name, wanted=n.wanted, has="no framework") for n in asked]
    found = [(build, _failing_build(asked, build)) for build in builds]
    met = [build for build, failures in found if not failures]
    return met, [] if met else min((failures for _, failures in found), key=len)


def _lacks(need: Need, node: NodeAnnounced) -> str | None:
    """What a machine has instead of what is needed; None: it has it."""
    name = need.name
    if name in OF_MACHINE:
        has = OF_MACHINE[name](node)
        size = gibibytes(int(has)) if name != "cores" else f"{has:g}"
        return None if has and need.of_number(has) else size if has else "unknown"
    if name in ALLOWED:
        allowed = ALLOWED[name](node)
        return None if allowed == (need.operator == "=") else "yes" if allowed else "no"
    if name == "kernel":
        numbers = re.match(r"\d+(\.\d+){0,2}", node.kernel)
        return None if numbers and need.of_version(numbers[0]) else node.kernel or "unknown"
    if name == "cpu":
        return None if need.of_part(node.cpu) else node.cpu or "unknown"
    if name.startswith("label."):
        return _label(need, node.labels.get(name.removeprefix("label.")))
    words = SAID[name](node)
    if name == "arch":
        same = architecture(need.value) == architecture(node.arch)
        return None if same == (need.operator == "=") else node.arch or "unknown"
    return None if need.of_words(words) else " ".join(filter(None, words)) or "none"


def _label(need: Need, has: str | None) -> str | None:
    if need.value == "":  # the label alone: it is there, or must not be
        met = (has is not None) == (need.operator == "!=")
    elif need.operator in ORDERED:
        met = has is not None and _is_number(has) and need.of_number(float(has))
    else:
        met = (has == need.value) == (need.operator == "=")
    return None if met else "no such label" if has is None else has


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------ GPUs


def _failing_gpus(needs: Sequence[Need], gpus: Sequence[Device]) -> list[Failure]:
    """What fails of GPUs; where each need is met, but by no one GPU, all of it together."""
    if not needs:
        return []
    counts = [need for need in needs if need.name == "gpu.count"]
    each = [need for need in needs if need.name != "gpu.count"]
    failures = []
    for need in each:
        if not any(_gpu_has(need, gpu) for gpu in gpus):
            has = ", ".join(dict.fromkeys(_gpu_says(need, gpu) for gpu in gpus)) or "no gpu"
            failures.append(Failure(constraint=need.name, wanted=need.wanted, has=has))
    meeting = sum(gpu.count for gpu in gpus if all(_gpu_has(need, gpu) for need in each))
    if not failures and each and not meeting:
        wanted = ", ".join(need.text for need in each)
        has = ", ".join(_described(gpu) for gpu in gpus)
        failures.append(Failure(constraint="gpu", wanted=f"one with {wanted}", has=has))
    for need in counts:
        if not need.of_number(meeting):
            of_these = " such" if each else ""
            has = f"{meeting}{of_these}"
            failures.append(Failure(constraint=need.name, wanted=need.wanted, has=has))
    return failures


def _gpu_has(need: Need, gpu: Device) -> bool:
    if need.name == "gpu.memory":
        return gpu.memory_bytes > 0 and need.of_number(gpu.memory_bytes)
    if need.name == "gpu.capability":
        return need.of_version(gpu.capability)
    return need.of_part(gpu.name)


def _gpu_says(need: Need, gpu: Device) -> str:
    if need.name == "gpu.memory":
        return gibibytes(gpu.memory_bytes) if gpu.memory_bytes else "unknown"
    return (gpu.capability if need.name == "gpu.capability" else gpu.name) or "unknown"


def _described(gpu: Device) -> str:
    return f"{gpu.name} {gibibytes(gpu.memory_bytes)}".strip()


# ------------------------------------------------------------------ builds


def _failing_build(needs: Iterable[Need], build: FrameworkSeen) -> list[Failure]:
    return [
        Failure(constraint=need.name, wanted=need.wanted, has=has)
        for need in needs
        if (has := _build_lacks(need, build)) is not None
    ]


def _build_lacks(need: Need, build: FrameworkSeen) -> str | None:
    where = f" in environment {build.environment}"
    if need.name == "framework":
        name, wanted = parse_reference(need.value)
        met = same_framework(name, build.name) and (not wanted or meets(build.version, wanted))
        return None if met == (need.operator == "=") else f"{build.name} {build.version}"
    if need.name == "python":
        return None if need.of_version(build.python) else (build.python or "unknown") + where
    if need.name == "environment":
        return None if need.of_words([build.environment]) else build.environment
    if need.name == "provider":
        return None if need.of_words(build.providers) else ", ".join(build.providers) or "none"
    wanted_package = package_name(need.name.removeprefix("package."))
    has = next((v for k, v in build.packages.items() if package_name(k) == wanted_package), "")
    if need.value == "":
        met = bool(has) == (need.operator == "!=")
    else:
        met = need.of_version(has) if has else need.operator == "!="
    return None if met else has or f"not{where}"
