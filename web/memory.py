"""Which models there are, as of a moment ago: all their manifests are too much for each look."""

from __future__ import annotations

import time
from collections import OrderedDict

from mlmodelscope.client import Client

KEPT_S = 30.0
MOST = 256


class Memory:
    """The names of the listed models, of each user who asked lately."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()

    async def model_names(self, client: Client) -> list[str]:
        """In the catalog's order, each once; what was published since is there half a minute on."""
        asked_s, names = self._names.get(client.user, (-KEPT_S, []))
        if time.monotonic() - asked_s > KEPT_S or not names:
            known = await client.models()
            names = list(dict.fromkeys(one.name for one in known.models))
            self._names[client.user] = time.monotonic(), names
            while len(self._names) > MOST:
                self._names.popitem(last=False)
        return names

    def forget(self) -> None:
        """Something was published or withdrawn here."""
        self._names.clear()
