"""What TensorFlow takes once a process: its thread pools and oneDNN, set before they are made."""

import os
from dataclasses import dataclass
from typing import Any

from ..errors import WorkerError
from . import Spec
from .settings import one_of, thread_count

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


@dataclass(frozen=True, slots=True)
class Taken:
    """The pools of this process; 0: as many threads as TensorFlow chose."""

    threads: int = 0
    inter_op_threads: int = 0


_imported_with = ""
"""The word for oneDNN when TensorFlow was imported; empty before that."""
_pools: Taken | None = None


def imported(spec: Spec) -> Any:
    """TensorFlow, imported with oneDNN as asked, its logs quiet."""
    global _imported_with
    if why := _onednn_taken(spec):
        raise WorkerError("request", why)
    asked = one_of(spec, "onednn", ("on", "off"))
    if not _imported_with:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        if asked:
            os.environ[ONEDNN] = "1" if asked == "on" else "0"
        _imported_with = asked or "default"
    import tensorflow

    return tensorflow


def with_pools(spec: Spec) -> Any:
    """TensorFlow with its thread pools as asked; a GPU is hidden from a model for the CPU."""
    global _pools
    if why := _pools_taken(spec):
        raise WorkerError("request", why)
    tf = imported(spec)
    if _pools is None:
        wanted = _asked(spec)
        tf.config.threading.set_intra_op_parallelism_threads(wanted.threads)
        tf.config.threading.set_inter_op_parallelism_threads(wanted.inter_op_threads)
        tf.config.set_soft_device_placement(False)
        _pools = wanted
    return tf


def taken(spec: Spec, pools: bool) -> str:
    """Why this process cannot take these settings any more; empty where it can."""
    return _onednn_taken(spec) or (_pools_taken(spec) if pools else "")


def effective(tf: Any) -> dict[str, Any]:
    """The values that this process runs with."""
    return {
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads()
        or _chosen("TF_NUM_INTRAOP_THREADS"),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads()
        or _chosen("TF_NUM_INTEROP_THREADS"),
        "onednn": onednn(),
    }


def onednn() -> str:
    """Whether TensorFlow's kernels are oneDNN's, as the library itself says."""
    try:
        from tensorflow.python.util import _pywrap_util_port as port

        return "on" if port.IsMklEnabled() else "off"
    except (ImportError, AttributeError):
        return os.environ.get(ONEDNN) or "default"


def _chosen(name: str) -> int:
    """What TensorFlow takes where nothing is set: an environment variable, or every core."""
    given = os.environ.get(name, "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked(spec: Spec) -> Taken:
    return Taken(
        thread_count(spec, "threads", "tensorflow"),
        thread_count(spec, "inter_op_threads", "tensorflow"),
    )


def _pools_taken(spec: Spec) -> str:
    wanted = _asked(spec)
    if _pools is None or _pools == wanted:
        return ""
    return (
        f"TensorFlow makes its thread pools once a process: here threads {_pools.threads} and "
        f"inter_op_threads {_pools.inter_op_threads} (0: its own choice), and {wanted.threads} "
        f"and {wanted.inter_op_threads} are asked for; close the models that are open first"
    )


def _onednn_taken(spec: Spec) -> str:
    asked = one_of(spec, "onednn", ("on", "off"))
    if not _imported_with or not asked or asked == onednn():
        return ""
    return (
        f"TensorFlow decides about oneDNN when it is imported, and it is {onednn()} in this "
        "process; close the models that are open first"
    )
