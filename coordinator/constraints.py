"""Does this node fit this request, and if not, why not: every failed constraint, not the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from bus.errors import InputError
from bus.messages import Failure, FrameworkSeen, Manifest, Misfit, NodeAnnounced, Wanted
from coordinator.meeting import ANOTHER_NODE, failing_machine, meets_pins, suited
from coordinator.needs import read_needs
from coordinator.provision import is_provisioned, provided
from coordinator.registry import Kind
from coordinator.words import architecture, gibibytes, package_name, same_framework
from manifests.rules import requirement
from manifests.runnable import has_code
from manifests.version import key, meets, normalise, parse_reference

SHOWN_NODES = 8
"""How many nodes of a group a refusal names; it always says how many there are."""
SHOWN_GROUPS = 50
ALLOWING = "a node that allows a manifest's code (--allow-code)"


@dataclass(frozen=True, slots=True)
class Fit:
    """How a node stands to a request: the framework that would run it, or what fails.

    builds: every build there that would run it (several environments), the chosen one first.
    """

    framework: FrameworkSeen | None
    failures: tuple[Failure, ...] = ()
    builds: tuple[FrameworkSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitting:
    """Nodes that are alike and stand alike to a request."""

    fit: Fit
    example: NodeAnnounced
    nodes: tuple[str, ...]


# ------------------------------------------------------------------ one node


def fit(manifest: Manifest, wanted: Wanted, node: NodeAnnounced) -> Fit:
    """Hold a node against everything that the model and the request ask for."""
    return _pinned(_able(manifest, wanted, node), _pins(wanted, node.node_id))


def _able(manifest: Manifest | None, wanted: Wanted, node: NodeAnnounced) -> Fit:
    """The same for all nodes that are alike: everything but which node it is."""
    needs = read_needs(wanted.requires)
    builds, failures = _builds(manifest, wanted, node)
    unsuited: list[Failure] = []
    if builds or not failures:
        suiting, unsuited = suited(needs, builds)
        builds, failures = tuple(suiting), failures + unsuited
    failures += _device(wanted, node, builds[0] if builds else None)
    failures += _code(manifest, node) if manifest is not None else []
    if manifest is not None and not unsuited:
        builds, failures = provided(manifest, wanted, node, (builds, failures))
        if builds and is_provisioned(builds[0].environment):
            suiting, unsuited = suited(needs, builds)  # of which little is known beforehand
            builds, failures = tuple(suiting), failures + unsuited
    failures += _machine(wanted, node)
    failures += failing_machine(needs, node)
    if failures:
        return Fit(None, tuple(failures))
    able = tuple(seen for seen in builds if not wanted.device or wanted.device in seen.devices)
    return Fit(builds[0] if builds else None, (), able or builds[:1])


def _pins(wanted: Wanted, node_id: str) -> tuple[Failure, ...]:
    """What stands against this node for being the one it is."""
    failures = meets_pins(read_needs(wanted.requires), node_id)
    if wanted.node and wanted.node != node_id:
        failures = [Failure(constraint="node", wanted=wanted.node, has=ANOTHER_NODE), *failures]
    return tuple(failures)


def _pinned(able: Fit, pins: tuple[Failure, ...]) -> Fit:
    return Fit(None, (*able.failures, *pins)) if pins else able


def _builds(
    manifest: Manifest | None, wanted: Wanted, node: NodeAnnounced
) -> tuple[tuple[FrameworkSeen, ...], list[Failure]]:
    """The builds that both ranges admit, newest first, those for the wanted device before others.

    They lie in the wanted environment, and it has the packages that the model requires. Without a
    model: every build that the request admits, which asks for none unless it names one.
    """
    name = manifest.framework.name if manifest is not None else ""
    asked, asked_range = parse_reference(wanted.framework) if wanted.framework else (name, "")
    if manifest is None:
        if not (asked or wanted.environment):
            return tuple(node.frameworks), []
        name = asked
    if not same_framework(asked, name):
        return (), [Failure(constraint="framework", wanted=asked, has=f"a model for {name}")]
    here = [seen for seen in node.frameworks if not name or same_framework(seen.name, name)]
    if not here:
        has = ", ".join(sorted({seen.name for seen in node.frameworks})) or "none"
        return (), [Failure(constraint="framework", wanted=name, has=has)]
    failures = []
    inside = [seen for seen in here if wanted.environment in ("", seen.environment)]
    if not inside:
        has = ", ".join(f"{seen.name} {seen.version} in {seen.environment}" for seen in here)
        failures = [Failure(constraint="environment", wanted=wanted.environment, has=has)]
    own_range = manifest.framework.version if manifest is not None else ""
    ranges = [text for text in (own_range, asked_range) if text]
    met = [seen for seen in inside or here if all(meets(seen.version, text) for text in ranges)]
    if not met:
        versions = ", ".join(dict.fromkeys(seen.version for seen in inside or here))
        text = " and ".join(dict.fromkeys(ranges))
        failures.append(Failure(constraint=f"{name} version", wanted=text, has=versions))
    if failures:
        return (), failures
    ordered = sorted(met, key=lambda seen: _preference(seen, wanted.device), reverse=True)
    complete = [seen for seen in ordered if not _lacking(manifest, seen)]
    return (tuple(complete), []) if complete else ((), _lacking(manifest, ordered[0]))


def _preference(seen: FrameworkSeen, device: str) -> tuple[object, ...]:
    """For the device, then readable versions, releases, the newest: the largest is preferred."""
    able = not device or device in seen.devices
    if not _readable(seen.version):
        return able, False, False, ()
    version = key(seen.version)
    return able, True, version[3] == (1,), version


def _lacking(manifest: Manifest | None, seen: FrameworkSeen) -> list[Failure]:
    """The packages that a model requires and an environment has not, or not of that version."""
    if manifest is None or not manifest.model.requires:
        return []
    packages = {package_name(name): version for name, version in seen.packages.items()}
    failures = []
    for text in manifest.model.requires:
        name, wanted = requirement(text)
        has = packages.get(package_name(name))
        if has is None or not meets(has, wanted):
            failures.append(
                Failure(
                    constraint=f"package {name}",
                    wanted=wanted or "any version",
                    has=has or f"not in environment {seen.environment}",
                )
            )
    return failures


def _code(manifest: Manifest, node: NodeAnnounced) -> list[Failure]:
    if node.allow_code or not has_code(manifest):
        return []
    return [Failure(constraint="code", wanted=ALLOWING, has="a node that does not")]


@lru_cache(maxsize=4096)
def _readable(version: str) -> bool:
    try:
        normalise(version)
    except InputError:
        return False
    return True


def _device(wanted: Wanted, node: NodeAnnounced, framework: FrameworkSeen | None) -> list[Failure]:
    if not wanted.device:
        return []
    kinds = {device.kind for device in node.devices}
    if wanted.device not in kinds:
        has = ", ".join(sorted(kinds)) or "none"
        return [Failure(constraint="device", wanted=wanted.device, has=has)]
    if framework is None or wanted.device in framework.devices:
        return []
    has = f"{framework.name} {framework.version} for {', '.join(framework.devices) or 'no device'}"
    return [Failure(constraint="framework device", wanted=wanted.device, has=has)]


def _machine(wanted: Wanted, node: NodeAnnounced) -> list[Failure]:
    failures = []
    if wanted.arch and architecture(wanted.arch) != architecture(node.arch):
        failures.append(Failure(constraint="arch", wanted=wanted.arch, has=node.arch or "unknown"))
    if wanted.min_memory_bytes > node.memory_bytes:
        least, has = gibibytes(wanted.min_memory_bytes), gibibytes(node.memory_bytes)
        failures.append(Failure(constraint="memory", wanted=f"at least {least}", has=has))
    if wanted.min_cores > node.cores:
        least = f"at least {wanted.min_cores}"
        failures.append(Failure(constraint="cores", wanted=least, has=str(node.cores)))
    for name, value in sorted(wanted.labels.items()):
        if node.labels.get(name) != value:
            has = node.labels.get(name, "no such label")
            failures.append(Failure(constraint=f"label {name}", wanted=value, has=has))
    return failures


# ------------------------------------------------------------------ all nodes


def survey(manifest: Manifest | None, wanted: Wanted, kinds: Iterable[Kind]) -> list[Fitting]:
    """How every node stands to a request; each kind of node is looked at once."""
    return [found for kind in kinds for found in _of_kind(manifest, wanted, kind)]


def _of_kind(manifest: Manifest | None, wanted: Wanted, kind: Kind) -> Iterator[Fitting]:
    able = _able(manifest, wanted, kind.example)
    named = {need.value for need in read_needs(wanted.requires) if need.name == "node"}
    named |= {wanted.node} if wanted.node else set()
    if not named:
        yield Fitting(able, kind.example, kind.nodes)
        return
    # Only the nodes that somebody named stand otherwise than all others of their kind.
    folded = {name.casefold() for name in named}
    single = [node_id for node_id in kind.nodes if node_id.casefold() in folded]
    others = [node_id for node_id in kind.nodes if node_id.casefold() not in folded]
    for nodes in ([node_id] for node_id in single):
        yield Fitting(_pinned(able, _pins(wanted, nodes[0])), kind.example, tuple(nodes))
    if others:
        yield Fitting(_pinned(able, _pins(wanted, others[0])), kind.example, tuple(others))


def misfits(surveyed: Iterable[Fitting]) -> list[Misfit]:
    """The nodes that do not fit, those with the same reasons together, near misses first."""
    # A model in several frameworks is held against a node once for each.
    groups: dict[tuple[tuple[str, str, str], ...], set[str]] = defaultdict(set)
    reasons: dict[tuple[tuple[str, str, str], ...], list[Failure]] = {}
    for found in surveyed:
        if not found.fit.failures:
            continue
        key = tuple((f.constraint, f.wanted, f.has) for f in found.fit.failures)
        reasons[key] = list(found.fit.failures)
        groups[key].update(found.nodes)
    ordered = sorted(groups.items(), key=lambda group: (len(group[0]), -len(group[1]), group[0]))
    return [
        Misfit(nodes=sorted(nodes)[:SHOWN_NODES], count=len(nodes), failures=reasons[key])
        for key, nodes in ordered[:SHOWN_GROUPS]
    ]


def explain(groups: list[Misfit]) -> str:
    """The nearest misses in one sentence, for people."""
    parts = []
    for group in groups[:3]:
        who = group.nodes[0] if group.count == 1 else f"{group.count} nodes"
        why = ", ".join(f"{f.constraint}: wanted {f.wanted}, has {f.has}" for f in group.failures)
        parts.append(f"{who} ({why})")
    more = f" and {len(groups) - 3} more reasons" if len(groups) > 3 else ""
    return "; ".join(parts) + more
