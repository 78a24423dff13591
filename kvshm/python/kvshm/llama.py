# SPDX-License-Identifier: Apache-2.0
"""kvshm.llama - ik_llama_cpp's IkLlama, its prompts shared with all engines of the node

    from kvshm.llama import KvshmLlama
    llm = KvshmLlama("model.gguf", n_ctx=8192)
    reply = llm.create_chat_completion([{"role": "user", "content": "Hello!"}])
    llm.cached_tokens           # of the last prompt, out of the cache

A subclass of the engine, not a BaseLlamaCache: that one copies a whole state in and out of Python, this one
restores blocks straight out of the cache's memory.  Without a daemon it is IkLlama.

The work is done by libkvshm-llama.so, which must meet the libllama.so that ik_llama_cpp has loaded: both are of
the ik_llama.cpp fork.  It is looked for beside this file, in the build folder around it, and then where the
system's loader looks.
"""
from __future__ import annotations

import ctypes
import os
from typing import Any

from ik_llama_cpp import _ctypes_api as C
from ik_llama_cpp._internals import IkContext, make_batch_range
from ik_llama_cpp.llama import IkLlama

SEQUENCE, SCRATCH, SEQUENCES = 0, 1, 2


class _Options(ctypes.Structure):
    """struct kvshm_llama_options of <kvshm/llama.h>"""
    _fields_ = [
        ("sz", ctypes.c_size_t), ("model_path", ctypes.c_char_p), ("params", ctypes.c_void_p),
        ("salt", ctypes.c_char_p), ("block_tokens", ctypes.c_uint), ("scratch_seq", ctypes.c_int32),
        ("socket", ctypes.c_char_p), ("instance", ctypes.c_char_p), ("label", ctypes.c_char_p),
        ("is_off", ctypes.c_bool),
    ]


def _library() -> ctypes.CDLL:
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.path.join(here, "libkvshm-llama.so.0"), os.path.join(here, "../../libkvshm-llama.so")):
        if os.path.exists(path):
            break
    else:
        path = "libkvshm-llama.so.0"
    lib = ctypes.CDLL(path)
    tokens = ctypes.POINTER(ctypes.c_int32)
    lib.kvshm_llama_open.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Options), ctypes.POINTER(ctypes.c_void_p)]
    lib.kvshm_llama_restore.argtypes = [ctypes.c_void_p, ctypes.c_int32, tokens, ctypes.c_uint, ctypes.c_void_p]
    lib.kvshm_llama_restore.restype = ctypes.c_uint
    lib.kvshm_llama_save.argtypes = lib.kvshm_llama_restore.argtypes
    lib.kvshm_llama_save.restype = ctypes.c_uint
    lib.kvshm_llama_status.argtypes = lib.kvshm_llama_close.argtypes = [ctypes.c_void_p]
    lib.kvshm_llama_close.restype = ctypes.c_void_p
    # libllama's own, which ik_llama_cpp does not declare
    lib.llama_kv_cache_seq_rm.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32]
    lib.llama_kv_cache_seq_rm.restype = ctypes.c_bool
    return lib


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


class _Context(IkContext):
    """IkContext with a second sequence for the blocks on their way; it keeps what it was made with."""

    def __init__(self, model: Any, *, n_ctx: int, n_threads: int, flash_attn: bool) -> None:
        self.params = C.llama_context_default_params()
        self.params.n_ctx = self.params.n_batch = n_ctx
        self.params.n_seq_max = SEQUENCES
        if n_threads > 0:
            self.params.n_threads = self.params.n_threads_batch = n_threads
        self.params.flash_attn = flash_attn
        self._ctx = C.llama_init_from_model(model.model, self.params)
        if not self._ctx:
            raise RuntimeError("the context does not fit into memory")
        self._model = model
        self._n_ubatch = C.llama_n_ubatch(self._ctx)


class KvshmLlama(IkLlama):
    """IkLlama whose prompts share their KV with all engines of the node; one thread at a time.

    block_tokens, 16 to 512: what is shared goes in blocks of that many tokens.  socket and instance name the
    daemon as elsewhere; is_off talks to none.  salt is a text that must be equal to share (adapters, tenants).

    Greedy tokens are those of a KvshmLlama without a cache: prompts are cut into batches alike, and a hit
    is used down to such a cut.
    """

    def __init__(self, model_path: str, *, n_ctx: int = 4096, n_threads: int = 0, flash_attn: bool = True,
                 block_tokens: int = 32, socket: str | None = None, instance: str | None = None,
                 salt: str | None = None, is_off: bool = False, **options: Any) -> None:
        if options.get("embedding"):
            raise ValueError("an embedding context has no prompts to share")
        self._kv = ctypes.c_void_p()
        super().__init__(model_path, n_ctx=n_ctx, n_threads=n_threads, flash_attn=flash_attn, **options)
        flash_attn = flash_attn and self._has_vnni      # as IkLlama decides
        self._context.close()
        self._context = _Context(self._model, n_ctx=n_ctx, n_threads=n_threads, flash_attn=flash_attn)
        self._lib = _library()
        self.block_tokens = block_tokens
        self.cached_tokens = 0
        o = _Options(ctypes.sizeof(_Options), os.fsencode(model_path),
                     ctypes.cast(ctypes.pointer(self._context.params), ctypes.c_void_p), _text(salt), block_tokens,
                     SCRATCH, _text(socket), _text(instance), b"kvshm.llama", is_off)
        ret = self._lib.kvshm_llama_open(self._context.ctx, ctypes.byref(o), ctypes.byref(self._kv))
        if ret < 0:
            self.close()
            raise OSError(-ret, os.strerror(-ret), model_path)

    @property
    def is_attached(self) -> bool:
        """Is there a cache?  One that comes later is found with the next prompt."""
        return bool(self._kv) and self._lib.kvshm_llama_status(self._kv) == 0

    def _cut(self, cached: int, shared: int) -> int:
        """Where a restore may end, so that what follows is cut as if nothing had been cached."""
        batch = self._context._n_ubatch // self.block_tokens * self.block_tokens
        return shared if cached >= shared else cached // batch * batch

    def _prefill(self, tokens: list[int], start: int, shared: int) -> None:
        """[0, shared) in whole blocks, then the rest: the last batch has the logits."""
        batch = self._context._n_ubatch // self.block_tokens * self.block_tokens
        while start < len(tokens):
            end = min(start + batch, shared) if start < shared else min(start + self._context._n_ubatch, len(tokens))
            self._decode(tokens[start:end], start, end == len(tokens))
            start = end

    def _decode(self, tokens: list[int], position: int, has_logits: bool) -> None:
        batch = make_batch_range(tokens, pos_start=position, logits_last=has_logits)
        ret = self._context.decode(batch)
        C.llama_batch_free(batch)
        if ret:
            raise RuntimeError(f"llama_decode failed at token {position}: {ret}")

    def _restore(self, array: ctypes.Array[ctypes.c_int32], shared: int) -> int:
        cached = self._lib.kvshm_llama_restore(self._kv, SEQUENCE, array, shared, None)
        cut = self._cut(cached, shared)
        if cut < cached:
            self._lib.llama_kv_cache_seq_rm(self._context.ctx, SEQUENCE, cut, -1)
        return cut

    def generate(self, tokens: list[int], *, max_tokens: int = 256, temperature: float = 0.0, top_k: int = 40,
                 top_p: float = 0.95) -> list[int]:
        """As IkLlama.generate(): restore, prefill the rest, generate, share what was computed."""
        if not tokens:
            raise ValueError("a prompt has a token at least")
        shared = (len(tokens) - 1) // self.block_tokens * self.block_tokens
        self._context.kv_cache_clear()
        self._context.perf_reset()
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        self.cached_tokens = self._restore(array, shared)
        self._prefill(tokens, self.cached_tokens, shared)
        answer: list[int] = []
        while len(answer) < max_tokens:
            token = self._context.sample(-1, temperature=temperature, top_k=top_k, top_p=top_p)
            if C.llama_token_is_eog(self._model.model, token):
                break
            answer.append(token)
            if len(answer) < max_tokens:
                self._decode([token], len(tokens) + len(answer) - 1, True)
        # The KV of whole blocks of the prompt: how an answer was cut depends on where it was asked for.
        self._lib.kvshm_llama_save(self._kv, SEQUENCE, array, shared, None)
        return answer

    def close(self) -> None:
        if getattr(self, "_kv", None):
            self._lib.kvshm_llama_close(self._kv)
            self._kv = ctypes.c_void_p()
        super().close()
