"""What lies below the frameworks of this environment, found without importing any of it."""

from importlib.metadata import PackageNotFoundError, version

STACK = (
    "numpy",
    "protobuf",
    "onnx",
    "mkl",
    "openvino",
    "tensorrt",
    "triton",
    *(f"nvidia-{library}-cu{major}" for library in ("cudnn", "cublas") for major in (11, 12, 13)),
    *(f"nvidia-cuda-runtime{end}" for end in ("", "-cu11", "-cu12", "-cu13")),
)
"""Packages that change what a framework computes, or how fast."""


def stack_packages() -> dict[str, str]:
    """Those of them that are installed: name -> version."""
    found = {}
    for name in STACK:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
