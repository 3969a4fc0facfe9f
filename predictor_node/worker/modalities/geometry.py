"""Where a pixel of the model's input lies in the image that was given, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Geometry:
    """Given pixels times scale, plus offset, are input pixels; both sizes are (width, height)."""

    given: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def resized(self, size: tuple[int, int]) -> Geometry:
        """After the input was resized."""
        factors = [new / old for new, old in zip(size, self.input, strict=True)]
        scale = (self.scale[0] * factors[0], self.scale[1] * factors[1])
        offset = (self.offset[0] * factors[0], self.offset[1] * factors[1])
        return Geometry(self.given, size, scale, offset)

    def cut(self, left: int, top: int, size: tuple[int, int]) -> Geometry:
        """After a part of the input was taken, or (left and top below zero) a border added."""
        return Geometry(self.given, size, self.scale, (self.offset[0] - left, self.offset[1] - top))

    def to_given(self, x: float, y: float) -> tuple[float, float]:
        """A point of the input, in pixels of the given image, never outside it."""
        found = (
            (at - offset) / scale
            for at, offset, scale in zip((x, y), self.offset, self.scale, strict=True)
        )
        across, down = found
        return min(max(across, 0.0), self.given[0]), min(max(down, 0.0), self.given[1])


def geometry_of(about: Mapping[str, Any]) -> Geometry | None:
    """What an image's modality says of it; None of an item that is no image."""
    found = about.get("geometry")
    return found if isinstance(found, Geometry) else None
