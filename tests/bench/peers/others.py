# SPDX-License-Identifier: Apache-2.0
"""others - stores whose client is a Python package: measured by a script of their own, peer_NAME.py, with its interpreter

They go after the C clients and not in turn with them.  A store that is not installed is left out.
"""
import os
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
GONE_S = 3
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Other:
    name, package, start_s = "", "", 30
    more_env = {}

    def __init__(self, build):
        self.bin = self.folder(build)
        self.port = free_port()
        self.env = {**os.environ, **self.more_env}
        self.server = None

    def script(self, *args, **options):
        return subprocess.Popen([os.path.join(self.bin, "python"), os.path.join(HERE, f"peer_{self.name}.py"), *args],
                                env=self.env, text=True, stderr=subprocess.DEVNULL, **options)

    def start(self):
        """Return: seconds until the port is open."""
        start = time.monotonic()
        self.server = subprocess.Popen(self.command(), env=self.env, **QUIET)
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(self.port)), timeout=1).close()
                return time.monotonic() - start
            except OSError:
                if self.server.poll() is not None or time.monotonic() > start + self.start_s:
                    raise SystemExit(f"peers: the server of {self.name} does not start") from None
                time.sleep(0.01)

    def serve(self):
        """Server, and whatever lends it memory."""
        self.start()

    def bench(self):
        client = self.script("bench", self.port, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        out, _ = client.communicate(timeout=300)
        if client.returncode:
            raise SystemExit(f"peers: the benchmark of {self.name} failed")
        result = {}
        for line in out.splitlines():
            if line.startswith(self.name + " "):
                _, work, field, value = line.split()
                result.setdefault(work, {})[field] = float(value)
        return result

    def kill(self):
        client = self.script("hit", self.port, str(GONE_S), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        while True:
            line = client.stdout.readline()
            if line.strip() == "ready":
                break
            if not line:
                raise SystemExit(f"peers: no client of {self.name}")
        self.server.kill()
        self.server.wait()
        start = time.monotonic()
        client.stdin.write("\n")
        client.stdin.close()
        hit = client.wait() == 0
        after = time.monotonic() - start
        client.stdout.close()
        restart = self.start()
        left = self.script("left", self.port, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        out, _ = left.communicate(timeout=120)
        return {"next_hit_ms": after * 1e3 if hit else None, "restart_ms": restart * 1e3,
                "blocks_left_ratio": int(out.split()[-1]) / 64}

    def stop(self):
        if self.server:
            self.server.kill()
            self.server.wait()

    def measure(self, said):
        """Figures, its version in said; None where it is not installed."""
        python = os.path.join(self.bin, "python")
        if not os.access(python, os.X_OK):
            return None
        show = subprocess.run([python, "-c", f"import importlib.metadata as m; print(m.version('{self.package}'))"],
                              capture_output=True, text=True, check=True)
        said[self.name] = show.stdout.strip()
        try:
            self.serve()
            result = self.bench()
            result["sigkill"] = self.kill()
        finally:
            self.stop()
        return result


class Mooncake(Other):
    """A master, which is what is killed, and a process that lends the memory."""
    name, package = "mooncake", "mooncake-transfer-engine-non-cuda"
    more_env = {"GLOG_minloglevel": "3", "MC_LOG_LEVEL": "ERROR"}
    lender = None

    def folder(self, build):
        return os.path.join(build, "peers/mooncake/bin")

    def command(self):
        return [os.path.join(self.bin, "mooncake_master"), f"--rpc_port={self.port}", "--rpc_address=127.0.0.1",
                "--metrics_port=0"]

    def serve(self):
        self.start()
        self.lender = self.script("lend", self.port, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.lender.stdout.readline().strip() != "ready":
            raise SystemExit("peers: Mooncake takes no memory")

    def stop(self):
        if self.lender:
            self.lender.kill()
            self.lender.wait()
        super().stop()


class LMCache(Other):
    """Its multiprocess server with 1 GiB; installed by `make check-engines`."""
    name, package, start_s = "lmcache", "lmcache", 120
    more_env = {"LMCACHE_TRACK_USAGE": "false", "DO_NOT_TRACK": "1", "LMCACHE_LOG_LEVEL": "ERROR"}

    def folder(self, build):
        return os.path.join(ROOT, "build/engines/lmcache/venv/bin")

    def command(self):
        return [os.path.join(self.bin, "lmcache"), "server", "--host", "127.0.0.1", "--port", self.port, "--http-host",
                "127.0.0.1", "--http-port", free_port(), "--disable-metrics", "--l1-size-gb", "1", "--no-l1-use-lazy",
                "--eviction-policy", "LRU", "--supported-transfer-mode", "engine_driven"]


OTHERS = (Mooncake, LMCache)
