# SPDX-License-Identifier: Apache-2.0
"""hints.py - what vLLM knows of a request, as the policy's hint word

vLLM knows how an output ended and how long it is, and a request may name its session.  What only the application knows comes with the
request, as kv_transfer_params: {"kvshm": {"kind": 3, "turn": 2, "gap": 12.5, "over": false, "tool": true}}, or at a session's end
{"over": true, "own_tokens": 1500}: as many of the last are the session's own, nobody shares them.
"""
import time
from collections import OrderedDict
from typing import Any, Dict, Tuple

import kvshm

FIELDS = ("kind", "turn", "gap", "over", "tool")
OWN_TOKENS = "own_tokens"
SESSIONS = 4096
STOPS = {"FINISHED_STOPPED": 1, "FINISHED_LENGTH_CAPPED": 2, "FINISHED_ABORTED": 3, "FINISHED_IGNORED": 4,
         "FINISHED_ERROR": 5, "FINISHED_REPETITION": 6}


class Sessions:
    """Turn and pause of requests that name their session; the ones that were quiet longest are forgotten."""

    def __init__(self) -> None:
        self.known: "OrderedDict[str, Tuple[int, float]]" = OrderedDict()

    def fields(self, request: Any) -> Dict[str, Any]:
        name = getattr(request, "session_id", None)
        if not name:
            return {}
        now = time.monotonic()
        turn, before = self.known.pop(name, (0, now))
        self.known[name] = turn + 1, now
        if len(self.known) > SESSIONS:
            self.known.popitem(last=False)
        return {"turn": turn + 1, "gap": now - before if turn else -1.0}


def given_fields(request: Any) -> Dict[str, Any]:
    """What the application has said."""
    params = request.kv_transfer_params
    given = params.get("kvshm") if isinstance(params, dict) else None
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name in (*FIELDS, OWN_TOKENS) if name in given}


def word(fields: Dict[str, Any]) -> int:
    try:
        return kvshm.hint(**{name: value for name, value in fields.items() if name != OWN_TOKENS})
    except (TypeError, ValueError):     # the application's mistake costs the hint, not the request
        return 0


def own_blocks(fields: Dict[str, Any], block_tokens: int) -> int:
    """Whole blocks that a session which is over leaves to nobody; 0: not said."""
    own = fields.get(OWN_TOKENS)
    return own // block_tokens if isinstance(own, int) and own > 0 else 0


def finished_word(fields: Dict[str, Any], request: Any) -> int:
    return word({**fields, "stop": STOPS.get(request.status.name, 0), "output_tokens": request.num_output_tokens})
