"""Settings as they come: only names that a framework knows, numbers that may have come as text."""

from collections.abc import Collection

from ..errors import WorkerError, unknown
from . import Spec

MAX_THREADS = 1024


def known_only(spec: Spec, library: str, names: Collection[str]) -> None:
    """A setting that the framework does not have is refused, never passed over."""
    for name in spec.settings:
        if name not in names:
            raise unknown(f"setting of {library}", name, (*names, "device"))


def thread_count(spec: Spec, name: str, library: str) -> int:
    """A number of threads, which a command line may have sent as text; 0: the library chooses."""
    given = str(spec.settings.get(name, 0))
    if not (given.isascii() and given.isdecimal() and int(given) <= MAX_THREADS):
        text = f"setting {name} is {given!r}; a whole number 0–{MAX_THREADS} is expected"
        raise WorkerError("request", f"{text} (0: {library} chooses)")
    return int(given)


def one_of(spec: Spec, name: str, known: Collection[str], default: str = "") -> str:
    """A setting that is one of a few words; the default where nobody asked for one."""
    given = str(spec.settings.get(name, "")) or default
    if given != default and given not in known:
        raise unknown(name, given, known)
    return given


def same_precision(spec: Spec, held: str, how: str) -> None:
    """A file holds one precision; another one cannot be had from it by asking."""
    asked = one_of(spec, "precision", ("float32", "float16", "bfloat16", "int8", "mixed"))
    if asked and asked != held:
        text = f"precision {asked} was asked for, but the model's file holds {held or 'no numbers'}"
        raise WorkerError("request", f"{text}; {how}")
