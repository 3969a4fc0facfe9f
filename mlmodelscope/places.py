"""Where things lie on this machine: the data folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_data_path


def home_folder(env: Mapping[str, str]) -> Path:
    """MLMS_HOME, else the user's own data folder."""
    return Path(env["MLMS_HOME"]) if env.get("MLMS_HOME") else user_data_path("mlmodelscope")
