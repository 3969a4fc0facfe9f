"""What an environment has installed, found without importing any of it."""

from glob import glob
from importlib.metadata import PackageNotFoundError, version

# Packages that bring models with them: `constructor` may name their functions.
MODEL_PACKAGES = {
    "torch": ("torchvision", "timm", "efficientnet-lite-pytorch", "segmentation-models-pytorch"),
    "tensorflow": ("keras", "keras-hub", "tf-keras"),
    "mxnet": ("gluoncv",),
}


def version_of(*names: str) -> str:
    """The version of the first of these packages that is here; ImportError where none is."""
    for name in names:
        if found := _version(name):
            return found
    raise ImportError(f"none of these packages is installed: {', '.join(names)}")


def model_packages(framework: str) -> dict[str, str]:
    """The packages that bring models for a framework: name -> version."""
    return {name: found for name in MODEL_PACKAGES[framework] if (found := _version(name))}


def is_installed(name: str) -> bool:
    """Whether this package is here."""
    return bool(_version(name))


def has_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU shows a device."""
    return bool(glob("/dev/nvidia[0-9]*"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
