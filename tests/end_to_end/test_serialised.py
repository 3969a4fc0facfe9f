"""`--serialize` from the command to the settings in effect, and back into the result."""

from __future__ import annotations

import json


def test_the_flag_reaches_the_framework_and_the_result(mlms) -> None:  # type: ignore[no-untyped-def]
    asked = ("EfficientNet-Lite0", "--runs", "2", "--threads", "2", "--serialize")
    done = mlms("evaluate", *asked, "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["requested"]["threads"], result["requested"]["serialize"]) == (2, 1)
    effective = result["effective"]
    assert effective["serialized"] is True and effective["execution"] == "sequential"
    assert (effective["intra_op_threads"], effective["inter_op_threads"]) == (1, 1)
