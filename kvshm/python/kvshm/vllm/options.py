# SPDX-License-Identifier: Apache-2.0
"""options.py - kv_connector_extra_config"""
from dataclasses import dataclass, fields
from typing import Any, Dict, Optional

LOADS = ("auto", "sync", "async")


@dataclass(frozen=True)
class Options:
    """Defaults are what a node with one daemon wants."""

    socket: Optional[str] = None        # None: KVSHM_SOCKET, the user's daemon, the system's
    instance: Optional[str] = None
    load: str = "auto"                  # before the step that needs it, beside steps, or by size
    async_mib: float = 64               # auto: a load of more does not hold up the step
    save_wait_ms: float = 20            # of a step for blocks to be granted
    model_id: Optional[str] = None      # names the weights; None: the files are looked at

    def __post_init__(self) -> None:
        if self.load not in LOADS:
            raise ValueError(f"kvshm: load is one of {', '.join(LOADS)}, not {self.load!r}")
        for name in ("async_mib", "save_wait_ms"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"kvshm: {name} is a number of at least 0, not {value!r}")

    @classmethod
    def parse(cls, extra: Dict[str, Any]) -> "Options":
        known = [f.name for f in fields(cls)]
        for name in extra:
            if name not in known:
                raise ValueError(f"kvshm: no option {name!r} in kv_connector_extra_config; "
                                 f"there are {', '.join(known)}")
        return cls(**extra)

    def is_async(self, load_bytes: int) -> bool:
        if self.load == "auto":
            return load_bytes > self.async_mib * 2**20
        return self.load == "async"
