# SPDX-License-Identifier: Apache-2.0
"""hints.py - what an engine knows of a request, as the word that Client.set_hint() takes"""

_TURNS = (1, 2, 3, 5, 10)           # first turn of each class
_MAX_LOG = 29                       # 2 + log2, in five bits


def _log_class(value: float) -> int:
    """2 + floor(log2(value)), at least 2."""
    return 2 + min(max(int(value).bit_length() - 1, 0), _MAX_LOG)


def hint(kind: int = 0, stop: int = 0, turn: int = 0, gap: "float | None" = None,
         output_tokens: "int | None" = None, over: bool = False, tool: bool = False) -> int:
    """The hint word of a request.

    kind           type of the request, 1 to 255 in the caller's numbering; 0: not known
    stop           why its output ended, 1 to 15 in the caller's numbering; 0: not known
    turn           which turn of its session, from 1; 0: not known
    gap            seconds since the session's request before; negative: there was none
    output_tokens  tokens of its output
    over, tool     the session is over; it waits for a tool
    """
    if not 0 <= kind <= 255 or not 0 <= stop <= 15 or turn < 0:
        raise ValueError("hint: kind 0 to 255, stop 0 to 15, turn 0 or more")
    word = kind | stop << 8 | sum(turn >= first for first in _TURNS) << 12
    if gap is not None:
        word |= (1 if gap < 0 else _log_class(gap * 4)) << 16
    if output_tokens is not None:
        word |= (1 if output_tokens <= 0 else _log_class(output_tokens)) << 21
    return word | over << 26 | tool << 27
