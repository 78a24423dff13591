# SPDX-License-Identifier: Apache-2.0
"""pieces.py - where the bytes of a page lie in an engine's tensors: torch's, or shaped like torch's

A layout can be wished for and need not be granted, so nothing is assumed: shapes and strides say it.
"""
import itertools
from typing import Any, Dict, List, Tuple

Piece = Tuple[int, int, int]            # address, bytes to the same piece of the next page, length


def page_axis(tensor: Any, nr_pages: int) -> int:
    """Which dimension counts pages: the first, or the second behind {K, V}."""
    shape = tuple(tensor.shape)
    if shape[0] == nr_pages:
        return 0
    if len(shape) > 1 and shape[0] == 2 and shape[1] == nr_pages:
        return 1
    raise ValueError(f"a KV tensor of shape {shape} has no dimension of {nr_pages} pages")


def inner(tensor: Any, axis: int) -> List[Tuple[int, int]]:
    """(size, stride) of the dimensions inside a page, outermost in memory first."""
    dims = [(size, stride) for i, (size, stride) in enumerate(zip(tensor.shape, tensor.stride()))
            if i != axis and size > 1]
    return sorted(dims, key=lambda dim: -dim[1])


def tensor_pieces(tensor: Any, nr_pages: int) -> List[Piece]:
    axis, item = page_axis(tensor, nr_pages), tensor.element_size()
    dims, run = inner(tensor, axis), 1
    while dims and dims[-1][1] == run:
        run *= dims.pop()[0]
    offsets = [sum(at) for at in itertools.product(*([i * stride for i in range(size)] for size, stride in dims))]
    return [(tensor.data_ptr() + at * item, tensor.stride()[axis] * item, run * item) for at in offsets]


def merge(pieces: List[Piece]) -> List[Piece]:
    """Neighbours in memory as one."""
    merged: List[Piece] = []
    for address, stride, length in pieces:
        if merged and merged[-1][0] + merged[-1][2] == address and merged[-1][1] == stride:
            merged[-1] = (merged[-1][0], stride, merged[-1][2] + length)
        else:
            merged.append((address, stride, length))
    return merged


def distinct(kv_caches: Dict[str, Any]) -> Dict[str, Any]:
    """Without the layers that share the tensor of another."""
    seen: Dict[Any, Tuple[str, Any]] = {}
    for name, tensor in kv_caches.items():
        seen.setdefault((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()), (name, tensor))
    return dict(seen.values())


def find_pieces(kv_caches: Dict[str, Any], nr_pages: int) -> List[Piece]:
    return merge([piece for tensor in distinct(kv_caches).values() for piece in tensor_pieces(tensor, nr_pages)])


def describe(kv_caches: Dict[str, Any], nr_pages: int) -> List[Any]:
    """The order of bytes inside a block, as plain data: for each tensor its shape and memory order."""
    facts = []
    for name, tensor in distinct(kv_caches).items():
        axis = page_axis(tensor, nr_pages)
        shape = [size for i, size in enumerate(tensor.shape) if i != axis]
        strides = [stride for i, stride in enumerate(tensor.stride()) if i != axis]
        order = [i for _, i in sorted((-stride, i) for i, stride in enumerate(strides))]
        facts.append([name, str(tensor.dtype), shape, order])
    return facts
