# SPDX-License-Identifier: Apache-2.0
"""options.py - the part "kvshm" of HiCache's extra config"""
from dataclasses import dataclass, fields
from typing import Any, Dict, Optional


@dataclass(frozen=True)
class Options:
    """Defaults are what a node with one daemon wants."""

    model_id: Optional[str] = None      # names the weights; None: the files are looked at
    socket: Optional[str] = None        # None: KVSHM_SOCKET, the user's daemon, the system's
    instance: Optional[str] = None

    @classmethod
    def parse(cls, extra_config: Optional[Dict[str, Any]]) -> "Options":
        given = (extra_config or {}).get("kvshm", {})
        known = [f.name for f in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"kvshm: no option {name!r} in the extra config; there are {', '.join(known)}")
            if not isinstance(value, str) or not value:
                raise ValueError(f"kvshm: {name} is a text, not {value!r}")
        return cls(**given)
