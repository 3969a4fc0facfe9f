"""A study as a static site: pages, rows as files, and what draws them, in one folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from analysis.answers import Answer
from bus.errors import InputError
from manifests.reading import write as as_yaml
from mlmodelscope import analyze
from mlmodelscope.plots import drawing_code
from mlmodelscope.site_html import MADE_BY, as_html
from mlmodelscope.site_pages import Site, files_of
from mlmodelscope.site_style import SCRIPT, STYLE
from mlmodelscope.studies import Study
from mlmodelscope.study_cells import Material

MOST_BYTES = 10_000_000
"""An input that is larger is named where it lies, and not copied."""
OURS = ("*.html", "rows/*.csv", "rows/*.json", "models/*.y*ml", "inputs/*")
"""What is written anew each time: pages of models that are no longer there go."""


def check(folder: Path) -> None:
    """InputError for a folder that holds something other than a study's site."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--site {folder}: it is a file: expected a folder")
    if not folder.parent.is_dir():
        raise InputError(f"--site {folder}: there is no folder {folder.parent}")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise InputError(
            f"--site {folder}: it is not empty, and holds no study's site: expected a new folder"
        )


def _is_ours(folder: Path) -> bool:
    try:
        return MADE_BY in (folder / "index.html").read_text()[:1000]
    except (OSError, UnicodeDecodeError):
        return False


def write(material: Material, found: Mapping[str, Answer], folder: Path) -> None:
    """Every file of the site; one that was there is replaced."""
    try:
        _write(material, found, folder)
    except OSError as exc:
        raise InputError(f"--site {folder}: cannot write {exc.filename}: {exc.strerror}") from exc


def _write(material: Material, found: Mapping[str, Answer], folder: Path) -> None:
    own_files = _study_files(material)
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    for pattern in OURS:
        for path in folder.glob(pattern):
            path.unlink()
    command = shlex.join(["mlmodelscope", "study", "study.yml", "--site", "again"])
    menu, own = files_of(Site(material, found, command))
    for file in (*menu, *own):
        (folder / file.name).write_text(as_html(file, menu))
    for name, answer in found.items():
        (folder / "rows" / f"{name}.csv").write_text(analyze.as_csv(answer))
        whole = msgspec.json.encode(analyze.as_json([answer])[0])
        (folder / "rows" / f"{name}.json").write_bytes(msgspec.json.format(whole, indent=1))
    (folder / "plotly.min.js").write_text(drawing_code())
    (folder / "site.css").write_text(STYLE)
    (folder / "site.js").write_text(SCRIPT)
    for name, content in own_files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _study_files(material: Material) -> dict[str, bytes]:
    """The study's file, and small files of one's own beside it as they are.

    They are read before anything is written: they may lie in the folder of the site itself.
    """
    study, files, named = material.done.study, dict[str, bytes](), dict[str, str]()
    for kind, paths in (("models", material.done.own), ("inputs", study.inputs)):
        for at, path in enumerate(path for path in paths if _is_small(Path(path))):
            name = f"{kind}/{Path(path).name}"
            named[path] = name if name not in files else f"{kind}/{at}-{Path(path).name}"
            files[named[path]] = Path(path).read_bytes()
    return files | {"study.yml": as_yaml(_as_typed(study, named)).encode()}


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MOST_BYTES


def _as_typed(study: Study, named: Mapping[str, str]) -> dict[str, Any]:
    """What differs from the defaults, as a file of a study says it."""
    data: dict[str, Any] = {}
    for info in msgspec.structs.fields(study):
        value = getattr(study, info.name)
        default = (
            info.default_factory()
            if info.default_factory is not msgspec.NODEFAULT
            else info.default
        )
        if value != default:
            data[info.name] = value
    files = {"models": study.models, "inputs": study.inputs}
    own = {kind: [named.get(name, name) for name in names] for kind, names in files.items()}
    return data | {kind: names for kind, names in own.items() if names}
