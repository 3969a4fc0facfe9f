"""MLModelScope: how accurate, how fast and how costly is this model, there, and why?

async with mlmodelscope.Client.local() as scope:
    evaluation = await scope.evaluate("EfficientNet-Lite0", batch_sizes=[1, 8])
    result = await evaluation.result()
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlmodelscope.client import Client as Client

__all__ = ["Client"]


def __getattr__(name: str) -> object:
    # Client pulls in the bus and numpy: `mlmodelscope --help` should not wait for them.
    if name == "Client":
        from mlmodelscope.client import Client

        return Client
    raise AttributeError(f"module 'mlmodelscope' has no attribute {name!r}")
