"""What a model says, as tables and lines for a terminal: one for each kind of output."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.markup import escape

from bus.messages import ClassMap, Prediction, TensorValue
from mlmodelscope.tables import Column, table

TITLE = "\nWhat it says"
MOST_ROWS = 20
"""Of one input in a table; how many there are more is said."""
FIRST_VALUES = 4
NO_CLASS = 65535

Row = dict[str, Any]


def tables_of(predictions: Sequence[Prediction], title: str = TITLE) -> list[RenderableType]:
    """Everything that the predictions hold, kind by kind, under one title."""
    shown: list[RenderableType] = []
    for rows, columns in rows_by_kind(predictions):
        shown.append(table(rows, columns, "" if shown else title))
    if silent := [p.input for p in predictions if _says_nothing(p)]:
        names = ", ".join(map(escape, silent[:MOST_ROWS]))
        more = f" and {len(silent) - MOST_ROWS} more" if len(silent) > MOST_ROWS else ""
        shown.append(f"nothing found in {names}{more}")
    return shown


def rows_by_kind(predictions: Sequence[Prediction]) -> Iterator[tuple[list[Row], list[Column]]]:
    """The rows of each kind of output that there is, with the columns to show."""
    for rows_of, columns in KINDS:
        rows = [
            {"input": "" if rank else prediction.input} | row
            for prediction in predictions
            for rank, row in enumerate(_some(rows_of(prediction)))
        ]
        if rows:
            yield rows, [Column("input"), *columns]


def cells_of(prediction: Prediction) -> list[dict[str, Any]]:
    """What one prediction holds, for a page: of each kind its headings, its first rows as text,
    and how many more there are."""
    found = []
    for rows_of, columns in KINDS:
        if rows := rows_of(prediction):
            shown = [[column.of(row) for column in columns] for row in rows[:MOST_ROWS]]
            headings = [column.heading for column in columns]
            more = max(0, len(rows) - MOST_ROWS)
            found.append({"headings": headings, "rows": shown, "more": more})
    return found


def _some(rows: Sequence[Row]) -> Iterator[Row]:
    """The first rows, and one whose first cell says how many more there are."""
    yield from rows[:MOST_ROWS]
    if len(rows) > MOST_ROWS:
        empty: Row = dict.fromkeys(rows[0])
        yield {"input": f"… and {len(rows) - MOST_ROWS} more", **empty}


def _says_nothing(prediction: Prediction) -> bool:
    return not any(rows_of(prediction) for rows_of, _ in KINDS)


# ------------------------------------------------------------------ the kinds


def _classes(prediction: Prediction) -> list[Row]:
    return [
        {"class": one.index, "label": one.label, "probability": one.probability}
        for one in prediction.classes
    ]


def _boxes(prediction: Prediction) -> list[Row]:
    return [
        {
            "label": one.label or str(one.index),
            "probability": one.probability,
            "from": f"{one.x1:.0f}, {one.y1:.0f}",
            "to": f"{one.x2:.0f}, {one.y2:.0f}",
            "mask": f"{_filled(one.mask):.0%} of the box" if one.mask else "",
        }
        for one in prediction.boxes
    ]


def _filled(mask: bytes) -> float:
    return float(np.frombuffer(zlib.decompress(mask), np.uint8).mean())


def _map(prediction: Prediction) -> list[Row]:
    """The share of the pixels that each class has, the largest first."""
    if prediction.map is None:
        return []
    classes, counts = np.unique(class_map(prediction.map), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    size = f"{prediction.map.width}×{prediction.map.height}"
    names = dict(enumerate(prediction.map.labels)) | {NO_CLASS: "none"}
    return [
        {
            "class": names.get(int(classes[at]), str(classes[at])),
            "pixels": int(counts[at]),
            "share": counts[at] / counts.sum(),
            "map": size,
        }
        for at in order
    ]


def class_map(found: ClassMap) -> np.ndarray:
    """The class of every pixel, [height, width]."""
    flat = np.frombuffer(zlib.decompress(found.block), "<u2")
    return flat.reshape(found.height, found.width)


def _intervals(prediction: Prediction) -> list[Row]:
    return [
        {
            "from": f"{one.start_s:.2f} s",
            "to": f"{one.end_s:.2f} s",
            "label": one.label,
            "probability": one.probability,
        }
        for one in prediction.intervals
    ]


def _text(prediction: Prediction) -> list[Row]:
    return [{"text": prediction.text}] if prediction.text else []


def _tensors(prediction: Prediction) -> list[Row]:
    return [_tensor(one) for one in prediction.tensors]


def _image(prediction: Prediction) -> list[Row]:
    return [_tensor(prediction.image)] if prediction.image is not None else []


def _tensor(tensor: TensorValue) -> Row:
    row = {
        "output": tensor.name,
        "type": f"{tensor.dtype} {'×'.join(map(str, tensor.shape))}",
        "first values": tensor.url,
        "range": "",
        "length": "",
    }
    if not tensor.data:
        return row
    values = np.frombuffer(tensor.data, tensor.dtype).astype(np.float64)
    first = ", ".join(f"{value:.4g}" for value in values[:FIRST_VALUES])
    more = ", …" if values.size > FIRST_VALUES else ""
    if values.size:
        row["range"] = f"{values.min():.4g} to {values.max():.4g}"
    return {**row, "first values": first + more, "length": f"{np.linalg.norm(values):.4g}"}


def _or(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """Shows what there is; the row that says how many more there are has empty cells."""
    return lambda value: "" if value is None else show(value)


def _column(heading: str, show: Callable[[Any], str] = str, right: bool = False) -> Column:
    return Column(heading, show=_or(show), right=right)


def _decimal(value: float) -> str:
    return f"{value:.3f}"


KINDS: tuple[tuple[Callable[[Prediction], list[Row]], list[Column]], ...] = (
    (
        _classes,
        [_column("class", right=True), _column("label"), _column("probability", _decimal, True)],
    ),
    (
        _boxes,
        [
            *(_column("label"), _column("probability", _decimal, True)),
            *(_column("from", right=True), _column("to", right=True), _column("mask")),
        ],
    ),
    (
        _map,
        [
            *(_column("class"), _column("pixels", lambda n: f"{n:,}", True)),
            *(_column("share", lambda part: f"{part:.1%}", True), _column("map")),
        ],
    ),
    (
        _intervals,
        [
            *(_column("from", right=True), _column("to", right=True)),
            *(_column("label"), _column("probability", _decimal, True)),
        ],
    ),
    (_text, [_column("text")]),
    (
        _tensors,
        [
            *(_column("output"), _column("type")),
            *(_column("first values"), _column("range", right=True)),
            _column("length", right=True),
        ],
    ),
    (_image, [_column("output"), _column("type"), _column("first values")]),
)
