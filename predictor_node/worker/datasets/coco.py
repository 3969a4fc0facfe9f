"""coco: a folder of images and a JSON file of the boxes in them."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from ..errors import WorkerError
from ..job import Item
from .sources import Source, inside


class Coco:
    """Images in the order of the file; classes in the order of the categories' ids.

    An image without annotations is labelled too: nothing is to be found on it.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._folder = source, source.path("images")
        try:
            found = json.loads(source.plain("annotations").read_bytes())
            categories = sorted(found["categories"], key=lambda category: category["id"])
            self.labels = [str(category["name"]) for category in categories]
            numbers = {category["id"]: place for place, category in enumerate(categories)}
            self._images = [(each["id"], str(each["file_name"])) for each in found["images"]]
            self._boxes: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
            for each in found.get("annotations", []):
                x, y, width, height = map(float, each["bbox"])
                box = (x, y, x + width, y + height, numbers[each["category_id"]])
                self._boxes[each["image_id"]].append((*box, bool(each.get("iscrowd", 0))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}; a COCO file of images, categories and"
            raise source.unreadable("annotations", f"{why} annotations is expected") from error
        if not self._folder.is_dir():
            text = f"dataset {source.name}: images is {self._folder.name}, which is no folder"
            raise WorkerError("asset", text)

    def __len__(self) -> int:
        return len(self._images)

    def item(self, number: int) -> Item:
        image_id, name = self._images[number]
        path = inside(self._folder, name, f"dataset {self._source.name}")
        boxes = [
            {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "index": index,
             "label": self.labels[index], "crowd": crowd}
            for x1, y1, x2, y2, index, crowd in self._boxes.get(image_id, ())
        ]  # fmt: skip
        return Item(name=name, path=str(path), truth={"boxes": boxes})
