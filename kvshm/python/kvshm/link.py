# SPDX-License-Identifier: Apache-2.0
"""link.py - what an engine's log hears of the cache: that the daemon comes or goes, once; a kind of failure, once"""
import logging
import time
from typing import Optional, Set, Tuple

from ._kvshm import Client

EVERY_S = 1.0


class Link:
    """One of a client.  look() is for one thread; @logger is one of the engine's, so that it is shown like those."""

    def __init__(self, client: Client, logger: logging.Logger) -> None:
        self.client, self.logger = client, logger
        self.was_attached: Optional[bool] = None
        self.next_look = 0.0
        self.told: Set[Tuple[str, type, Optional[int]]] = set()

    def look(self) -> None:
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + EVERY_S
        is_attached = bool(self.client.stats()["is_attached"])
        if is_attached == self.was_attached:
            return
        if is_attached:
            self.logger.info("kvshm: attached to the daemon")
        elif self.was_attached:
            self.logger.warning("kvshm: the daemon is gone; hits go on, new blocks are not kept until it is back")
        else:
            self.logger.warning("kvshm: no daemon; serving without a cache until one comes")
        self.was_attached = is_attached

    def failed(self, what: str, error: Exception) -> None:
        """Computed instead, so worth a line, but not one for each block."""
        kind = (what, type(error), getattr(error, "errno", None))
        if kind not in self.told:
            self.told.add(kind)
            self.logger.warning("kvshm: %s, computed instead: %s (said once)", what, error)
