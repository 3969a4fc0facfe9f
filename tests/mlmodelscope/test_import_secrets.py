"""A published recording's secrets are not stored again."""

from __future__ import annotations

import gzip
import json
import re

from mlmodelscope.importing.secrets_withheld import without_secrets

KEY = re.compile(r"hf_[A-Za-z0-9]{20,}")


def test_what_looks_like_a_secret_is_withheld_at_any_depth() -> None:
    about = {
        "schemaVersion": 1,
        "env": {
            "HF_TOKEN": "hf_x",
            "PATH": "/bin",
            "AWS_SECRET_ACCESS_KEY": "k",
            "DB_PASSWORD": "",
        },
        "nodes": [{"Authorization": "Bearer x", "name": "n1"}],
        "with_token": False,
    }
    kept, withheld = without_secrets(about)
    assert withheld == 3
    assert kept == {
        "schemaVersion": 1,
        "env": {
            "HF_TOKEN": "(withheld)",
            "PATH": "/bin",
            "AWS_SECRET_ACCESS_KEY": "(withheld)",
            "DB_PASSWORD": "",
        },
        "nodes": [{"Authorization": "(withheld)", "name": "n1"}],
        "with_token": False,
    }


def test_the_recorded_bert_keeps_no_token(recordings) -> None:  # type: ignore[no-untyped-def]
    for path in sorted((recordings / "gpu_traces").glob("*bert*.json.gz")):
        top = json.loads(gzip.decompress(path.read_bytes()))
        top.pop("traceEvents")
        kept, withheld = without_secrets(top)
        assert withheld and not KEY.search(json.dumps(kept))
