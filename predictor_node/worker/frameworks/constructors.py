"""Makes a network by the constructor that a manifest names: models of installed packages, no more.

A manifest may come from a stranger, and a constructor is a call of his choice. So what is called
is a model's class or a function that makes models, never just any function: one of the modules
listed here, a class derived from the framework's model class (or a method of it), or a function
that says by its annotation that it returns one, in an installed package.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from typing import Any

from ..errors import WorkerError
from . import Spec
from .installed import is_installed

MODEL_MODULES = ("torchvision.models", "timm", "timm.models", "keras.applications")
DISTRIBUTIONS = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
}
WORDS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, slots=True)
class Constructor:
    """A callable that may be called, and the arguments that the manifest gives it."""

    name: str
    make: Callable[..., Any]
    arguments: dict[str, Any]

    def takes(self, parameter: str) -> bool:
        """Whether it has a parameter of this name."""
        return parameter in _parameters(self.make)

    def call(self, **more: Any) -> Any:
        """The network; its own complaints name the constructor."""
        try:
            return self.make(**{**more, **self.arguments})
        except WorkerError:
            raise
        except Exception as error:
            text = f"constructor {self.name} refuses {self.arguments}: {error}"
            raise WorkerError("framework", f"{text}; look at the manifest's arguments") from error


def find(spec: Spec, model_class: type) -> Constructor:
    """The manifest's constructor, found in an installed package and allowed to be called."""
    module_name, colon, path = spec.constructor.partition(":")
    parts = path.split(".")
    if not colon or not module_name or not all(part.isidentifier() for part in parts):
        text = f"constructor {spec.constructor!r} is not understood"
        raise WorkerError("request", f"{text}; package.module:function is expected")
    module = _module(spec.constructor, module_name)
    found: Any = module
    chain = []
    for part in parts:
        if part.startswith("_") or not hasattr(found, part):
            text = f"constructor {spec.constructor}: {module_name} has no {path}"
            raise WorkerError("request", f"{text} in the version that is installed here")
        found = getattr(found, part)
        chain.append(found)
    if not _allowed(module_name, chain, model_class):
        text = f"constructor {spec.constructor} is not known to make a model"
        expected = f"a class derived from {model_class.__name__}, or a function said to return one"
        raise WorkerError("request", f"{text}, and is not called; {expected}, is expected")
    return Constructor(spec.constructor, found, _typed(found, spec.arguments))


def _module(constructor: str, name: str) -> Any:
    package = name.partition(".")[0]
    hint = DISTRIBUTIONS.get(package, package)
    absent = WorkerError(
        "framework",
        f"constructor {constructor} needs the package {hint}, which is not installed in this "
        f"environment; install it here (pip install {hint})",
    )
    if not find_spec(package):
        raise absent
    if package in sys.stdlib_module_names or not _is_of_a_package(package, hint):
        text = f"constructor {constructor}: {package} belongs to no installed package"
        raise WorkerError("request", f"{text}, and is not imported")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == package:
            text = f"constructor {constructor}: the installed {hint} has no module {error.name}"
            raise WorkerError("request", text) from error
        text = f"constructor {constructor}: {package} itself needs {error.name}"
        raise WorkerError("framework", f"{text}, which is not installed here") from error


def _is_of_a_package(module: str, package: str) -> bool:
    """Whether pip installed it; going through all that is installed takes a second."""
    return is_installed(package) or is_installed(module) or module in packages_distributions()


def _allowed(module: str, chain: list[Any], model_class: type) -> bool:
    found, package = chain[-1], module.partition(".")[0]
    if not callable(found) or any(inspect.ismodule(each) for each in chain):
        return False
    if str(getattr(found, "__module__", "")).partition(".")[0] != package:
        return False  # a name that the module has only imported: os.system, for one
    if module in MODEL_MODULES or module.startswith(tuple(f"{m}." for m in MODEL_MODULES)):
        return True
    owner = chain[-2] if len(chain) > 1 else found
    if isinstance(owner, type):
        return issubclass(owner, model_class)
    try:
        made = inspect.get_annotations(found, eval_str=True).get("return")
    except Exception:  # an annotation can be any text
        return False
    return isinstance(made, type) and issubclass(made, model_class)


def _typed(make: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """YAML's scalars come as text: numbers and truths again, where text is not what is wanted."""
    wanted = {name: each.annotation for name, each in _parameters(make).items()}
    return {
        name: value if wanted.get(name) in (str, "str") else _plain(value)
        for name, value in arguments.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    if value.lower() in WORDS:
        return WORDS[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):
        return {}
