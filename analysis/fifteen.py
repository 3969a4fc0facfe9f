"""The fifteen analyses by number and by name, and the theoretical one beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from analysis import kernel_information as kernels
from analysis import layer_information as layers
from analysis import layer_kernels
from analysis.answers import Answer
from analysis.evidence import Evidence
from analysis.kernels import Kernels
from analysis.lower_bound import theoretical
from analysis.model_information import model_information
from bus.errors import InputError, UnknownNameError


@dataclass(eq=False)
class Asked:
    """Evidence and the batch size in question; what several analyses need is found once."""

    evidence: Evidence
    batch_size: int
    _kernels: dict[int, Kernels] = field(default_factory=dict)

    def kernels(self, batch_size: int | None = None) -> Kernels:
        """The kernels of one batch size: the one in question, unless another is given."""
        size = self.batch_size if batch_size is None else batch_size
        if size not in self._kernels:
            self._kernels[size] = Kernels(self.evidence, size)
        return self._kernels[size]

    def every(self) -> list[Kernels]:
        """The kernels of each batch size."""
        return [self.kernels(size) for size in self.evidence.batch_sizes or [self.batch_size]]


Analysis = Callable[[Asked], Answer]
ANALYSES: dict[str, tuple[str, Analysis]] = {
    "A1": ("model-information", lambda a: model_information(a.evidence)),
    "A2": ("layer-information", lambda a: layers.layer_information(a.evidence, a.batch_size)),
    "A3": ("layer-latency", lambda a: layers.layer_latency(a.evidence, a.batch_size)),
    "A4": ("layer-memory", lambda a: layers.layer_memory(a.evidence, a.batch_size)),
    "A5": ("layer-types", lambda a: layers.layer_types(a.evidence, a.batch_size)),
    "A6": (
        "layer-latency-by-type",
        lambda a: layers.layer_latency_by_type(a.evidence, a.batch_size),
    ),
    "A7": ("layer-memory-by-type", lambda a: layers.layer_memory_by_type(a.evidence, a.batch_size)),
    "A8": ("kernel-information", lambda a: kernels.kernel_information(a.kernels())),
    "A9": ("kernel-roofline", lambda a: kernels.kernel_roofline(a.kernels())),
    "A10": ("kernels-by-name", lambda a: kernels.kernels_by_name(a.kernels())),
    "A11": ("kernels-by-layer", lambda a: kernels.kernels_by_layer(a.kernels())),
    "A12": ("layer-metrics", lambda a: layer_kernels.layer_metrics(a.kernels())),
    "A13": ("layer-split", lambda a: layer_kernels.layer_split(a.kernels())),
    "A14": ("layer-roofline", lambda a: layer_kernels.layer_roofline(a.kernels())),
    "A15": ("model-roofline", lambda a: kernels.model_roofline(a.every())),
    "theoretical": ("theoretical", lambda a: theoretical(a.kernels())),
}
FIFTEEN = tuple(number for number in ANALYSES if number.startswith("A"))


def chosen(what: str) -> list[str]:
    """`A8`, a name, several with commas, `all` (A1 to A15); UnknownNameError for others."""
    if what.strip().lower() == "all":
        return list(FIFTEEN)
    names = {name: number for number, (name, _) in ANALYSES.items()}
    found = []
    for part in filter(None, (part.strip() for part in what.split(","))):
        number = part.upper() if part.upper() in ANALYSES else names.get(part.lower(), "")
        if not number:
            known = [*ANALYSES, *(name for name in names if name not in ANALYSES), "all"]
            raise UnknownNameError("analysis", part, known, f"(there is: {', '.join(known)})")
        found.append(number)
    if not found:
        raise InputError(f"no analysis is named; there are {', '.join(ANALYSES)} and all")
    return list(dict.fromkeys(found))


def asked_of(evidence: Evidence, batch_size: int = 0) -> Asked:
    """A question about one batch size (0: the best); InputError for one that was not run."""
    sizes = evidence.batch_sizes
    if batch_size and batch_size not in sizes:
        measured = ", ".join(map(str, sizes)) or "none"
        raise InputError(f"batch size {batch_size} was not measured: there is {measured}")
    return Asked(evidence, batch_size or evidence.batch_size)


def answers(asked: Asked, which: Sequence[str]) -> list[Answer]:
    """The answers, in the order in which they were asked for."""
    return [ANALYSES[number][1](asked) for number in which]
