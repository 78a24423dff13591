# SPDX-License-Identifier: Apache-2.0
"""due.py - requests, each by the earliest step that may complete what it can save

Most steps complete nothing of most requests, so a step must not look at each.  A clock runs by the most tokens that a
step gives to any request; a request that lacks so many tokens is looked at when the clock has gone so far, too early
perhaps, never too late.  A step of one token a request costs an addition and a comparison.
"""
import heapq
from typing import Any, Dict, List, Sequence, Tuple


class Due:
    def __init__(self, states: Dict[str, Any]) -> None:
        """@states: by request, those that there are; what has left them is forgotten here, too."""
        self.states = states
        self.now = 0
        self.heap: List[Tuple[int, str]] = []       # void if the request is gone or has another time

    def put(self, state: Any, tokens: int) -> None:
        """@tokens: what it lacks behind the step that is being made."""
        state.wake = self.now + max(tokens, 1)
        heapq.heappush(self.heap, (state.wake, state.request.request_id))

    def pass_step(self, most: int) -> Sequence[Any]:
        """A step in which a request gets at most so many tokens.  Those to look at; each must be put again."""
        self.now += most
        return self._take() if self.heap and self.heap[0][0] <= self.now else ()

    def _take(self) -> List[Any]:
        taken = []
        while self.heap and self.heap[0][0] <= self.now:
            wake, request_id = heapq.heappop(self.heap)
            state = self.states.get(request_id)
            if state and state.wake == wake:
                state.wake = 0
                taken.append(state)
        return taken
