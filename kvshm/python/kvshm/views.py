# SPDX-License-Identifier: Apache-2.0
"""views.py - pinned blocks as arrays, without a copy; a view keeps its pin alive"""
import importlib
import warnings
from typing import Any, Optional, Sequence, Union

from ._kvshm import Block, Grant


def numpy_view(block: Union[Block, Grant], dtype: Any = "uint8",
               shape: Optional[Sequence[int]] = None) -> Any:
    """A numpy array over a block; read-only for a pinned one."""
    import numpy

    array = numpy.frombuffer(memoryview(block), dtype=dtype)
    return array if shape is None else array.reshape(shape)


def torch_view(block: Block, dtype: Any = None, shape: Optional[Sequence[int]] = None) -> Any:
    """A torch tensor over a pinned block.

    torch has no read-only tensors: writing into this one changes the cache for everybody (trusted
    client), or ends the process (all others).  Copy it to the device, or clone() it.
    """
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.frombuffer(block, dtype=torch.uint8 if dtype is None else dtype)
    return tensor if shape is None else tensor.reshape(tuple(shape))
