"""Text, bytes and raw tensors as a model is fed them, beside the libraries they come from."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from magika.magika import Magika
from magika.types.seekable import Seekable
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from predictor_node.worker.errors import WorkerError
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import bytes as bytes_modality
from predictor_node.worker.modalities import modality, raw, text
from predictor_node.worker.outputs import OUTPUTS
from predictor_node.worker.outputs.reading import Reading


def rows(module: Any, data: bytes, name: str = "", **parameters: Any) -> np.ndarray:
    read = module.read_parameters({"name": name, "parameters": parameters})
    return module.tensors(module.open(Item("item", data=data), read), read)


# ------------------------------------------------------------------ bytes

MAGIKA = {
    **{"beginning": 1024, "ending": 1024, "padding": 256},
    **{"strip": True, "block": 4096, "dimensions": [2048]},
}
FILES = {
    "short": b"  print('hello')\n\n",
    "long": b"\n\t # a comment\n" + bytes(range(256)) * 40 + b"end   \n",
    "longer than both, shorter than a block": b"x" * 1500 + b"y" * 1500,
    "white space at first": b" " * 5000 + b"content" + b" " * 5000,
    "one byte": b"a",
}


@pytest.mark.parametrize("case", FILES)
def test_bytes_are_magikas_features(case: str) -> None:
    features = Magika._extract_features_from_seekable(
        Seekable(io.BytesIO(FILES[case])), 1024, 0, 1024, 256, 4096, False
    )
    (row,) = rows(bytes_modality, FILES[case], **MAGIKA)
    assert row.dtype == np.int32
    assert row.tolist() == [*features.beg, *features.end]


def test_all_bytes_without_a_beginning_and_an_ending() -> None:
    assert rows(bytes_modality, b"\x00ab").tolist() == [[0, 97, 98]]
    assert rows(bytes_modality, b" a ", strip=True, element_type="uint8").tolist() == [[97]]


@pytest.mark.parametrize(
    ("data", "parameters", "text"),
    [
        (b"", {}, "item is empty"),
        (b"abc", {"beginning": -1}, "numbers from 0"),
        (b"abc", {"beginning": 2, "dimensions": [3]}, r"make \[2\]"),
        (b"abc", {"dimensions": [2]}, r"expected int32 \[2\], got int32 \[3\]"),
    ],
)
def test_bytes_that_cannot_be(data: bytes, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(WorkerError, match=text):
        rows(bytes_modality, data, **parameters)


@pytest.mark.parametrize(
    ("alias", "name"), [("code", "bytes"), ("tensor", "raw"), ("text", "text")]
)
def test_the_originals_names_of_types(alias: str, name: str) -> None:
    assert modality({"type": alias}).__name__.endswith(f".{name}")


# ------------------------------------------------------------------ raw tensors


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


TWO = np.array([[1, 2], [3, 4]], np.float32)
# content -> the rows, for dimensions [2, 2]
TENSORS = {
    "npy": (npy(TWO), {}, [TWO]),
    "npy of rows": (npy(np.stack([TWO, TWO + 1])), {}, [TWO, TWO + 1]),
    "npz": (npz(only=TWO), {}, [TWO]),
    "npz by name": (npz(other=TWO * 9, x=TWO), {"name": "x"}, [TWO]),
    "json": (json.dumps(TWO.tolist()).encode(), {}, [TWO]),
    "json by name": (b'{"x": [[1, 2], [3, 4]], "y": [1]}', {"name": "x"}, [TWO]),
    "shifted": (npy(TWO.astype(np.uint8)), {"mean": 1, "scale": 2}, [(TWO - 1) / 2]),
    "any size": (npy(TWO), {"dimensions": [-1, 2]}, [TWO]),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_as_they_are(case: str) -> None:
    data, parameters, wanted = TENSORS[case]
    found = rows(raw, data, **{"dimensions": [2, 2], **parameters})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack(wanted))


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("a pickle was run",))


# content -> what the refusal says
NOT_TENSORS = {
    "another type": (npy(TWO.astype(np.float64)), r"item: expected float32 \[2, 2\], got float64"),
    "another shape": (npy(TWO[:1]), r"item: expected float32 \[2, 2\], got float32 \[1, 2\]"),
    "too many dimensions": (npy(TWO[None, None]), r"got float32 \[1, 1, 2, 2\]"),
    "a pickle": (npy(np.array([Harmful()], object)), "allow_pickle=False"),
    "a pickle in an archive": (npz(x=np.array([Harmful()], object)), "allow_pickle=False"),
    "half a file": (npy(TWO)[:-3], "a whole .npy"),
    "a broken archive": (b"PK\x03\x04 nothing", "cannot be read as a tensor"),
    "no array of the name": (npz(a=TWO, b=TWO), "holds arrays a, b; one named 'x'"),
    "a ragged list": (b"[[1, 2], [3]]", "cannot be read as a tensor"),
    "words": (b'["a"]', "numbers are expected"),
    "no rows": (npy(np.zeros((0, 2, 2), np.float32)), "no rows"),
    "a picture": (b"\x89PNG\r\n", "cannot be read as a tensor"),
}


@pytest.mark.parametrize("case", NOT_TENSORS)
def test_what_is_no_such_tensor_is_named(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, words = NOT_TENSORS[case]
    with pytest.raises(WorkerError, match=words) as caught:
        rows(raw, data, name="x", dimensions=[2, 2])
    assert caught.value.kind == "input"
    assert "a pickle was run" not in capfd.readouterr().out


# ------------------------------------------------------------------ text


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Words by white space, with marks at both ends; its own settings cut to 3 and fill to 9."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "morning": 5, "world": 6}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    made.enable_truncation(3)
    made.enable_padding(length=9)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return str(path)


# parameters -> the row of "good morning world", by hand
TEXTS = {
    "ids": ({}, [2, 4, 5, 6, 3]),
    "mask": ({"tokens": "mask"}, [1] * 5),
    "types": ({"tokens": "types"}, [0] * 5),
    "cut": ({"max_length": 4}, [2, 4, 5, 3]),
    "filled": ({"dimensions": [7], "padding": 9}, [2, 4, 5, 6, 3, 9, 9]),
    "mask of a filled one": (
        {"dimensions": [7], "tokens": "mask", "padding": 9},
        [1] * 5 + [0] * 2,
    ),
    "cut to the model's length": ({"dimensions": [4]}, [2, 4, 5, 3]),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_text_is_its_tokens(tokenizer: str, case: str) -> None:
    parameters, wanted = TEXTS[case]
    found = rows(text, b"good morning world", tokenizer=tokenizer, **parameters)
    assert (found.dtype, found.tolist()) == (np.int64, [wanted])


def test_ids_become_text_again(tokenizer: str) -> None:
    read = text.read_parameters({"parameters": {"tokenizer": tokenizer, "dimensions": [7]}})
    about = text.about("good world", read)
    assert about["mask"] == [1, 1, 1, 1, 0, 0, 0]
    ids = np.array([[2, 5, 6, 3, 0, 0]])
    found = OUTPUTS["text_generation"]({"y": ids}, {}, Reading(about=about))
    assert found == {"text": "morning world"}
    scores = np.eye(7, dtype=np.float32)[[4, 5]][np.newaxis]
    assert OUTPUTS["text_generation"]({"y": scores}, {}, Reading(about=about))["text"] == (
        "good morning"
    )


def test_a_text_that_is_none(tokenizer: str) -> None:
    with pytest.raises(WorkerError, match="byte 2 of 3 is no UTF-8") as caught:
        rows(text, b"ab\xff", tokenizer=tokenizer)
    assert caught.value.kind == "input"


def test_a_tokenizer_that_is_none(tokenizer: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": 3}')
    for path, kind, words in (
        ("", "request", "tokenizer is empty"),
        (str(tmp_path / "missing.json"), "asset", "cannot be read"),
        (str(broken), "asset", "broken.json is no tokenizer"),
    ):
        with pytest.raises(WorkerError, match=words) as caught:
            rows(text, b"x", tokenizer=path)
        assert caught.value.kind == kind


def test_without_the_library_its_package_is_named(
    tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # import raises, as if there were none
    with pytest.raises(WorkerError, match="pip install tokenizers"):
        rows(text, b"x", tokenizer=tokenizer)
