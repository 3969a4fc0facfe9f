"""What a library call computes and moves, from the sizes that the library itself prints.

oneDNN describes a convolution as `mb1_ic3oc32_ih224oh112kh3sh2dh0ph0_iw224…` (`g32` in front of
the channels: groups), an inner product as `mb1ic1280oc1000`, a product as `1x1280:1280x1000`;
MKL prints the routine's arguments (`T,N,m,n,k,…`). FLOPs are 2 x MAC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from analysis.theoretical import ITEM_BYTES, Work

SIZE = re.compile(r"(mb|ic|oc|[iokds][dhw]|p[dhw]|g)(\d+)")
TENSOR = re.compile(r"\b(src|wei|bia|dst)[a-z]*[:_](f64|f32|f16|bf16|s32|s8|u8)\b")
ONE_EACH = ("eltwise", "binary", "sum", "softmax", "batch_normalization", "layer_normalization")
A_RESULT = {"softmax": 3, "batch_normalization": 2}


def work_of_call(name: str, tags: Mapping[str, Any]) -> Work:
    """The multiply-adds and FLOPs of one call."""
    problem = str(tags.get("problem", ""))
    if tags.get("library") == "mkl":
        return _gemm(problem)
    if name in ("convolution", "deconvolution"):
        return _convolution(problem)
    if name == "inner_product":
        sizes = _sizes(problem)
        if {"mb", "ic", "oc"} <= sizes.keys():
            depth = sizes["ic"] * math.prod(sizes.get(each, 1) for each in ("id", "ih", "iw"))
            return _products(sizes["mb"] * sizes["oc"] * depth)
    if name == "matmul" and len(found := _shapes(problem)) >= 2:
        left, right = found[0], found[1]
        if len(left) > 1 and len(right) > 1:
            batch = max(math.prod(left[:-2]), math.prod(right[:-2]))
            return _products(batch * left[-2] * left[-1] * right[-1])
    if name == "reorder":
        return Work(0, 0)
    if name in ONE_EACH and (count := _elements(problem)):
        return Work(0, count * A_RESULT.get(name, 1))
    if name == "pooling":
        sizes = _sizes(problem)
        kernel = math.prod(sizes.get(each, 1) for each in ("kd", "kh", "kw"))
        made = math.prod(sizes.get(each, 1) for each in ("od", "oh", "ow"))
        if {"mb", "ic"} <= sizes.keys():
            return Work(0, sizes["mb"] * sizes["ic"] * made * kernel)
    return Work(why=f"there is no rule for {name} of {problem or 'a size that is not told'}")


def bytes_of_call(name: str, tags: Mapping[str, Any]) -> int | None:
    """Compulsory traffic: source, weights and result once each; None where sizes are not told."""
    problem = str(tags.get("problem", ""))
    items = dict(TENSOR.findall(str(tags.get("tensors", ""))))
    if tags.get("library") == "mkl":
        return _gemm_bytes(str(tags.get("implementation", "")), problem)

    def size(tensor: str, elements: int) -> int:
        return elements * ITEM_BYTES.get(items.get(tensor) or items.get("dst") or "f32", 4)

    sizes = _sizes(problem)
    if name in ("convolution", "deconvolution") and {"mb", "ic", "oc"} <= sizes.keys():
        area = {p: math.prod(sizes.get(f"{p}{d}", 1) for d in "dhw") for p in "iok"}
        weights = sizes["oc"] * sizes["ic"] // sizes.get("g", 1) * area["k"]
        given, made = sizes["mb"] * sizes["ic"] * area["i"], sizes["mb"] * sizes["oc"] * area["o"]
        return size("src", given) + size("wei", weights) + size("dst", made)
    if name == "inner_product" and {"mb", "ic", "oc"} <= sizes.keys():
        depth = sizes["ic"] * math.prod(sizes.get(each, 1) for each in ("id", "ih", "iw"))
        given, made = sizes["mb"] * depth, sizes["mb"] * sizes["oc"]
        return size("src", given) + size("wei", sizes["oc"] * depth) + size("dst", made)
    if name == "matmul" and len(found := _shapes(problem)) >= 2 and len(found[0]) > 1:
        left, right = found[0], found[1]
        made = max(math.prod(left[:-2]), math.prod(right[:-2])) * left[-2] * right[-1]
        return size("src", math.prod(left)) + size("wei", math.prod(right)) + size("dst", made)
    if name in (*ONE_EACH, "reorder") and (count := _elements(problem)):
        operands = problem.count(":") + 1
        return size("src", count) * operands + size("dst", count)
    if name == "pooling" and {"mb", "ic"} <= sizes.keys():
        area = {p: math.prod(sizes.get(f"{p}{d}", 1) for d in "dhw") for p in "io"}
        many = sizes["mb"] * sizes["ic"]
        return size("src", many * area["i"]) + size("dst", many * area["o"])
    return None


def _products(macs: int) -> Work:
    return Work(macs, 2 * macs)


def _convolution(problem: str) -> Work:
    sizes = _sizes(problem)
    if not {"mb", "ic", "oc"} <= sizes.keys():
        return Work(why=f"{problem or 'nothing'} does not tell a convolution's sizes")
    made = math.prod(sizes.get(each, 1) for each in ("od", "oh", "ow"))
    kernel = math.prod(sizes.get(each, 1) for each in ("kd", "kh", "kw"))
    depth = sizes["ic"] // sizes.get("g", 1)
    return _products(sizes["mb"] * sizes["oc"] * made * kernel * depth)


def _sizes(problem: str) -> dict[str, int]:
    return {name: int(number) for name, number in SIZE.findall(problem)}


def _shapes(problem: str) -> list[list[int]]:
    return [
        [int(size) for size in part.split("x")]
        for part in problem.split(":")
        if re.fullmatch(r"\d+(x\d+)*", part)
    ]


def _elements(problem: str) -> int:
    """Of `1x32x112x112`, the first where there are several; 0: not told."""
    shapes = _shapes(problem.partition(" ")[0])
    return math.prod(shapes[0]) if shapes else 0


def _gemm(problem: str) -> Work:
    sizes = _gemm_sizes(problem)
    if not sizes:
        return Work(why=f"MKL's arguments {problem or '(none)'} do not tell m, n and k")
    return _products(math.prod(sizes))


def _gemm_sizes(problem: str) -> list[int]:
    numbers = [part for part in problem.split(",") if part.strip().lstrip("-").isdigit()]
    return [int(part) for part in numbers[:3]] if len(numbers) >= 3 else []


def _gemm_bytes(implementation: str, problem: str) -> int | None:
    sizes = _gemm_sizes(problem)
    if not sizes:
        return None
    m, n, k = sizes
    kind = implementation.rpartition(":")[2][:1]
    return (m * k + k * n + m * n) * (8 if kind == "d" else 4)
