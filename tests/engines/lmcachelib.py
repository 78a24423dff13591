# SPDX-License-Identifier: Apache-2.0
"""The installed LMCache: its environment, and how its configuration names us."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
VENV = os.path.join(ROOT, "build", "engines", "lmcache", "venv", "bin")
LAYOUT = "tests bf16"
NATIVE = {"type": "native_plugin", "module_path": "kvshm.lmcache", "class_name": "KvshmL2"}
PINNED = {"type": "plugin", "module_path": "kvshm.lmcache_pinned", "class_name": "KvshmPinnedL2"}

sys.path.insert(0, os.path.join(ROOT, "tests", "python"))
os.environ.update(LMCACHE_TRACK_USAGE="false", DO_NOT_TRACK="1", LMCACHE_DISABLE_BANNER="1", LMCACHE_LOG_LEVEL="ERROR")


def enter():
    """Go on in LMCache's environment; without one the whole program is a skip."""
    if not os.access(os.path.join(VENV, "lmcache"), os.X_OK):
        print("no LMCache here: utils/dist/engines/lmcache.sh build/engines")
        sys.exit(77)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(VENV)):
        os.execv(os.path.join(VENV, "python"), [os.path.join(VENV, "python"), *sys.argv])


def adapter_json(daemon, kind=NATIVE, **params):
    return json.dumps({**kind, "adapter_params": {"layout": LAYOUT, "socket": daemon.socket, **params}})
