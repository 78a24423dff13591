# SPDX-License-Identifier: Apache-2.0
"""The installed LMCache: its environment, its server, and how its configuration names us."""
import json
import os
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("KVSHM_BUILD", os.path.join(ROOT, "build"))
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


def free_ports(nr):
    sockets = [socket.socket() for _ in range(nr)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    def __init__(self, adapter, folder):
        self.port, http = free_ports(2)
        self.log = open(os.path.join(folder, "lmcache.log"), "a+")
        self.process = subprocess.Popen(
            [os.path.join(VENV, "lmcache"), "server", "--host", "127.0.0.1", "--port", str(self.port), "--http-host", "127.0.0.1",
             "--http-port", str(http), "--disable-metrics", "--l1-size-gb", "0.25", "--no-l1-use-lazy",
             "--eviction-policy", "LRU", "--supported-transfer-mode", "engine_driven", "--l2-adapter", adapter],
            env={**os.environ, "PYTHONPATH": os.path.join(BUILD, "python")}, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True)

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("no LMCache server: " + self.said())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self):
        self.log.seek(0)
        return self.log.read()[-2000:]

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
