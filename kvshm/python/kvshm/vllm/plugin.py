# SPDX-License-Identifier: Apache-2.0
"""plugin.py - entry point of vllm.general_plugins: the connector by its name, and KVSHM=1

vLLM calls register() in each of its processes.
"""
import functools
import os
from typing import Any

NAME = "KvshmConnector"


def register() -> None:
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    try:
        KVConnectorFactory.register_connector(NAME, "kvshm.vllm.connector", NAME)
    except ValueError:
        return                          # the second call in this process
    if os.environ.get("KVSHM") == "1":
        _use_by_default()


def _use_by_default() -> None:
    """An engine whose user has not asked for any KV connector gets this one."""
    from vllm.config import KVTransferConfig
    from vllm.engine.arg_utils import EngineArgs

    make = EngineArgs.create_engine_config

    @functools.wraps(make)
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.kv_transfer_config is None:
            self.kv_transfer_config = KVTransferConfig(kv_connector=NAME, kv_role="kv_both",
                                                       kv_load_failure_policy="recompute")
        return make(self, *args, **kwargs)

    EngineArgs.create_engine_config = create_engine_config
