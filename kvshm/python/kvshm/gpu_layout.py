# SPDX-License-Identifier: Apache-2.0
"""gpu_layout.py - an engine's paged KV on a device as kvshm.Gpu takes it: numbers, read from shapes and strides

A page of a layer is a box of {K, V} x heads x tokens, each point of it a run of bytes.  Which dimension is called what
does not matter to the bytes, but that they are no more than that, and which one counts tokens.  Layers whose boxes are
equal form a group, with a namespace of its own.
"""
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ._kvshm import Client, Gpu
from .pieces import inner, page_axis

Dims = List[Tuple[int, int]]            # (size, stride), outermost in memory first


class Box(NamedTuple):
    """As struct kvshm_gpu_group."""

    nr_blocks: int
    nr_tokens: int
    nr_heads: int
    nr_parts: int
    run_len: int
    block_stride: int
    head_stride: int
    token_stride: int

    def order(self) -> List[int]:
        """What decides the order of bytes inside a block of the cache."""
        return [self.nr_tokens, self.nr_heads, self.nr_parts, self.run_len, int(self.head_stride > self.token_stride)]


def melt(dims: Dims) -> Tuple[int, Dims]:
    """The innermost run, and what is left with neighbours that are dense as one."""
    run, left = 1, list(dims)
    while left and left[-1][1] == run:
        run *= left.pop()[0]
    for i in range(len(left) - 1, 0, -1):
        (outer, stride), (size, step) = left[i - 1], left[i]
        if stride == size * step:
            left[i - 1:i + 1] = [(outer * size, step)]
    return run, left


def fit(dims: Dims, at: int) -> Optional[Tuple[int, Dims, Dims]]:
    """Run, parts and heads if dimension @at counts the tokens; None: more dimensions are left than a box has."""
    run, left = melt(dims[:at] + dims[at + 1:])
    if len(left) < 2:
        return run, [], left
    parts = [dim for dim in left if dim[0] == 2]
    if len(left) > 2 or not parts:
        return None
    left.remove(parts[0])
    return run, parts[:1], left


def box_of(tensor: Any, nr_pages: int, nr_tokens: int) -> Tuple[Box, int, int]:
    """With the addresses of K and of V, or 0."""
    axis, item = page_axis(tensor, nr_pages), tensor.element_size()
    dims = inner(tensor, axis)
    if nr_tokens == 1:
        dims.append((1, 1))
    fits = [(dims[at][1], found) for at in range(len(dims)) if dims[at][0] == nr_tokens
            for found in [fit(dims, at)] if found]
    if not fits:
        raise ValueError(f"a KV tensor of shape {tuple(tensor.shape)} and strides {tuple(tensor.stride())} is no box "
                         f"of heads and {nr_tokens} tokens")
    token_stride, (run, parts, heads) = fits[0]
    nr_heads, head_stride = heads[0] if heads else (1, 0)
    box = Box(nr_pages, nr_tokens, nr_heads, 1 + len(parts), run * item, tensor.stride()[axis] * item,
              head_stride * item, token_stride * item)
    first = tensor.data_ptr()
    return box, first, first + parts[0][1] * item if parts else 0


class Part(NamedTuple):
    """A group of the device's side: layers of one of the engine's groups."""

    group: int
    box: Box
    tensors: Dict[str, Any]


def layer_number(name: str) -> int:
    found = re.search(r"\.(\d+)\.", name)
    return int(found.group(1)) if found else 0


class Layout:
    """Of all of an engine's groups of tensors, by name."""

    def __init__(self, groups: List[Dict[str, Any]], nr_pages: int, nr_tokens: int) -> None:
        self.parts: List[Part] = []
        self.layers: List[Tuple[int, int, int]] = []    # in the order in which a step needs them
        self.at: Dict[str, int] = {}                    # which of them is a name's
        self.device = next(tensor.device for tensors in groups for tensor in tensors.values())
        self.owner = groups
        planes: Dict[Tuple[int, int, int], List[str]] = {}
        for group, tensors in enumerate(groups):
            for name, tensor in tensors.items():
                box, k, v = box_of(tensor, nr_pages, nr_tokens)
                part = self.part_of(group, box)
                names = planes.setdefault((part, k, v), [])
                if not names:           # else it shares the tensor of another layer
                    self.parts[part].tensors[name] = tensor
                names.append(name)
        for plane, names in sorted(planes.items(), key=lambda item: layer_number(item[1][0])):
            self.at.update({name: len(self.layers) for name in names})
            self.layers.append(plane)

    def part_of(self, group: int, box: Box) -> int:
        for i, part in enumerate(self.parts):
            if (part.group, part.box) == (group, box):
                return i
        self.parts.append(Part(group, box, {}))
        return len(self.parts) - 1

    def open(self, client: Client, **options: Any) -> Gpu:
        return Gpu(client, [part.box for part in self.parts], self.layers, self.device.index, self.owner,
                   **options)
