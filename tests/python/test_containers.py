#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""The manifests of utils/dist/containers are valid, and what they ask for suffices: pods share the cache."""
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from packagelib import BUILD, ROOT, need, until
import podlib

need("kubernetes_validate")
import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402

FOLDER = os.path.join(ROOT, "utils/dist/containers")
LICENSE = os.path.join(ROOT, "LICENSE")
HUGE = "hugepages-2Mi"
DRIVER = os.path.abspath(os.path.join(BUILD, "fake/libcuda.so.1"))


def has_driver():
    """There is one, and it can be loaded into Python: a sanitizer's cannot."""
    try:
        with open(DRIVER, "rb") as f:
            return b"__asan_init" not in f.read()
    except FileNotFoundError:
        return False


NEEDS_DRIVER = unittest.skipUnless(has_driver(), "no fake driver that Python can load")


def documents(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return list(yaml.safe_load_all(f))


def of_kind(kind, name="kubernetes.yaml"):
    return next(d for d in documents(name) if d["kind"] == kind)


def number(text):
    return int(re.match(r"\d+", text)[0])


class Node:
    """A folder for each path of the node that a manifest names, and what its pods mount."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="kvshm-node.")
        os.chmod(self.dir, 0o755)
        self.pods = []

    def path(self, name):
        folder = os.path.join(self.dir, name.strip("/"))
        os.makedirs(folder, exist_ok=True)
        return folder

    def pod(self, volumes, has_own_pids=True):
        pod = podlib.Pod(volumes, has_own_pids)
        self.pods.append(pod)
        return pod

    def end(self):
        for pod in self.pods:
            pod.end()
        shutil.rmtree(self.dir, ignore_errors=True)


class KubernetesPod:
    """A pod of kubernetes.yaml.  Huge pages are replaced as the howto says: this machine need not have any."""

    def __init__(self, node, spec, configs):
        self.spec = spec
        self.pod = node.pod({v["name"]: self.volume(node, v, configs) for v in spec["volumes"]}, not spec.get("hostPID"))

    @staticmethod
    def volume(node, v, configs):
        if "hostPath" in v:
            return node.path(v["hostPath"]["path"])
        if "configMap" in v:
            folder = node.path("configmaps/" + v["configMap"]["name"])
            for name, text in configs[v["configMap"]["name"]].items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                    f.write(text)
            return folder
        assert v["emptyDir"]["medium"] in ("Memory", "HugePages-2Mi")
        return f"mode=0777,size={number(v['emptyDir'].get('sizeLimit', '192Mi'))}m"

    def container(self, name):
        both = self.spec["containers"] + self.spec.get("initContainers", [])
        return next(c for c in both if c["name"] == name)

    def arguments(self, name):
        c = self.container(name)
        user = self.spec.get("securityContext", {}) | c.get("securityContext", {})
        return {
            "mounts": [(m["name"], m["mountPath"], m.get("readOnly", False)) for m in c["volumeMounts"]],
            "uid": user.get("runAsUser", 0), "gid": user.get("runAsGroup", 0),
            "groups": user.get("supplementalGroups", []),
            "env": {e["name"]: e["value"] for e in c.get("env", [])}}

    def run(self, name, *argv):
        c = self.container(name)
        return self.pod.run(argv=list(argv) or c["command"] + c.get("args", []), **self.arguments(name))

    def start(self, name, **options):
        c = self.container(name)
        return self.pod.start(argv=c["command"] + c["args"], **self.arguments(name), **options)


class WithPods(unittest.TestCase):
    def setUp(self):
        self.node = Node()
        self.addCleanup(self.node.end)
        os.environ["PATH"] = os.pathsep.join([BUILD, os.path.join(BUILD, "examples"), os.environ["PATH"]])

    def ready(self, probe, log, process):
        deadline = time.monotonic() + 30
        while probe().returncode:
            with open(log.name, encoding="utf-8") as f:
                said = f.read()
            self.assertIsNone(process.poll(), said)
            self.assertLess(time.monotonic(), deadline, said + probe().stdout + probe().stderr)
            time.sleep(0.05)

    def ok(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def start_gpud(self, pod, argv, arguments):
        """Over the fake driver, which knows processes by the PIDs that they see, as the real one does."""
        log = open(os.path.join(self.node.dir, "gpud.log"), "w+", encoding="utf-8")
        self.addCleanup(log.close)
        process = pod.start(argv=argv, stderr=log, **arguments | {"env": arguments["env"] | {"KVSHM_LIBCUDA": DRIVER}})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def said():
            with open(log.name, encoding="utf-8") as f:
                return f.read()
        self.assertTrue(until(lambda: "ready:" in said() or process.poll() is not None), said())
        self.assertIsNone(process.poll(), said())

    def copies(self, pod, arguments):
        """An engine has kvshm-gpud copy a block."""
        env = arguments["env"] | {"KVSHM_BUILD": os.path.abspath(BUILD), "PYTHONDONTWRITEBYTECODE": "1"}
        # the machine's, if there is one: root's own is none of the engine's user
        python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
        done = pod.run(argv=[python, os.path.join(ROOT, "tests/python/gpuengine.py")], **arguments | {"env": env})
        self.assertIn("the block has landed", self.ok(done))


class Kubernetes(WithPods):
    def start_daemon(self):
        log = open(os.path.join(self.node.dir, "log"), "a", encoding="utf-8")
        self.addCleanup(log.close)
        process = self.daemon_pod.start("kvshmd", stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        probe = self.daemon_pod.container("kvshmd")["readinessProbe"]["exec"]["command"]
        self.ready(lambda: self.daemon_pod.run("kvshmd", *probe), log, process)
        return process

    def setUp(self):
        super().setUp()
        spec = of_kind("DaemonSet")["spec"]["template"]["spec"]
        configs = {d["metadata"]["name"]: d["data"] for d in documents("kubernetes.yaml") if d["kind"] == "ConfigMap"}
        self.daemon_pod = KubernetesPod(self.node, spec, configs)
        self.engines = [KubernetesPod(self.node, of_kind("Pod")["spec"], {}) for _ in range(2)]
        self.ok(self.daemon_pod.run("folder") if podlib.IS_ROOT else
                self.daemon_pod.run("folder", "install", "-d", "-m", "0751", "/run/kvshm/main"))

    def test_engines_of_other_pods_share_blocks_also_over_a_crash_of_the_daemon(self):
        daemon = self.start_daemon()
        one, two = self.engines
        put = self.ok(one.run("engine", "put", LICENSE))
        self.assertRegex(put, r"^published [1-9]\d* duplicate 0 dropped 0$")
        self.assertEqual(self.ok(two.run("engine", "put", LICENSE)).split()[1], "0")
        got = self.ok(two.run("engine", "get", LICENSE))

        podlib.kill(daemon)
        self.start_daemon()
        self.assertEqual(self.ok(one.run("engine", "get", LICENSE)), got)

    def test_clients_shows_who_comes_from_another_pod(self):
        self.start_daemon()
        client = self.engines[0].pod.start(argv=["watch", LICENSE], stdout=subprocess.PIPE,
                                           **self.engines[0].arguments("engine"))
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        self.addCleanup(client.stdout.close)
        rows = until(lambda: list(csv.DictReader(self.ok(self.daemon_pod.run("kvshmd", "kvshm", "clients", "--csv"))
                                                 .splitlines())))
        self.assertEqual((rows[0]["pid"], rows[0]["uid"]), ("0", "1000" if podlib.IS_ROOT else "0"), rows)

    def test_a_client_that_dies_in_its_pod_gives_back_what_it_held(self):
        self.start_daemon()
        done = self.engines[0].run("engine", "kvshm", "load", "--procs", "3", "--seconds", "3", "--kill-clients", "200ms",
                                   "--json")
        self.ok(done)
        result = yaml.safe_load(done.stdout)
        self.assertGreater(result["client_kills"], 0)
        self.assertEqual((result["wrong_bytes"], result["leaked_blocks"]), (0, 0))

    def test_the_exporter_beside_it_answers(self):
        self.start_daemon()
        args = self.daemon_pod.container("exporter")["args"]
        metrics = self.ok(self.daemon_pod.run("exporter", "kvshm", *args, "--print", "/metrics"))
        self.assertIn('kvshm_up{daemon="main"} 1\n', metrics)

    @NEEDS_DRIVER
    def test_kvshm_gpud_of_its_own_pod_copies_for_an_engine_of_another(self):
        self.start_daemon()
        pods = [KubernetesPod(self.node, spec, {}) for spec in
                (of_kind("DaemonSet", "kubernetes-gpu.yaml")["spec"]["template"]["spec"],
                 of_kind("Pod", "kubernetes-gpu.yaml")["spec"])]
        gpud, engine = pods[0].container("kvshm-gpud"), pods[1].arguments("engine")
        self.start_gpud(pods[0].pod, gpud["command"] + gpud["args"], pods[0].arguments("kvshm-gpud"))
        self.copies(pods[1].pod, engine)

    @unittest.skipUnless(podlib.IS_ROOT, "users of this machine can be told apart by root only")
    def test_a_stranger_is_not_let_in(self):
        self.start_daemon()
        arguments = self.engines[0].arguments("engine") | {"uid": 1001, "gid": 1001, "groups": []}
        done = self.engines[0].pod.run(argv=["match", LICENSE], **arguments)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ermission", done.stderr)


class Compose(WithPods):
    def test_the_services_share_blocks(self):
        services = documents("compose.yaml")[0]["services"]
        daemon, engine = services["kvshmd"], services["engine"]
        volume = documents("compose.yaml")[0]["volumes"]["run"]["driver_opts"]
        run = self.node.path("run")
        if podlib.IS_ROOT:
            mode, uid, gid = (re.search(key + r"=(\d+)", volume["o"])[1] for key in ("mode", "uid", "gid"))
            os.chmod(run, int(mode, 8))
            os.chown(run, int(uid), int(gid))
        memory, options = daemon["tmpfs"][0].split(":")
        options = ",".join("size=192m" if o.startswith("size=") else o for o in options.split(",")
                           if o.partition("=")[0] in ("size", "mode"))

        def who(service):
            uid, gid = map(int, service["user"].split(":"))
            return {"uid": uid, "gid": gid, "groups": list(map(int, service.get("group_add", []))),
                    "env": service.get("environment", {}),
                    "mounts": [(v.split(":")[0], v.split(":")[1], v.endswith(":ro")) for v in service["volumes"]]}

        pod = self.node.pod({"run": run, "memory": options})
        arguments = who(daemon) | {"mounts": [*who(daemon)["mounts"], ("memory", memory, False)]}
        log = open(os.path.join(self.node.dir, "log"), "w", encoding="utf-8")
        process = pod.start(argv=["kvshmd", *daemon["command"]], stderr=log, **arguments)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(log.close)
        self.ready(lambda: pod.run(argv=daemon["healthcheck"]["test"][1:], **arguments), log, process)
        for _ in range(2):
            self.ok(self.node.pod({"run": run}).run(argv=["put", LICENSE], **who(engine)))
        found = self.ok(self.node.pod({"run": run}).run(argv=["match", LICENSE], **who(engine)))
        self.assertNotIn("0 of", found)
        with open(log.name, encoding="utf-8") as f:
            self.assertNotIn("EAL", f.read())       # it complains where it may not write
        self.check_gpu(services, who, run)

    def check_gpu(self, services, who, run):
        """The services of the profile, on the same volume."""
        if not has_driver():
            return
        gpud, engine = services["kvshm-gpud"], services["engine-gpu"]
        self.assertEqual((gpud["profiles"], engine["profiles"], engine["pid"]), (["gpu"], ["gpu"], "service:kvshm-gpud"))
        pod = self.node.pod({"run": run})           # one PID namespace for both
        self.start_gpud(pod, gpud["entrypoint"] + gpud["command"], who(gpud))
        self.copies(pod, who(engine))


class Manifests(unittest.TestCase):
    def test_kubernetes_knows_each_field(self):
        for d in documents("kubernetes.yaml") + documents("kubernetes-gpu.yaml"):
            kubernetes_validate.validate(d, kubernetes_validate.latest_version(), strict=True)

    def test_a_pod_that_asks_for_huge_pages_has_equal_limits_and_the_volume(self):
        spec = of_kind("DaemonSet")["spec"]["template"]["spec"]
        for c in spec["containers"]:
            limits, requests = c["resources"]["limits"], c["resources"]["requests"]
            self.assertEqual(limits.get(HUGE), requests.get(HUGE))
            self.assertEqual(limits["memory"], requests["memory"])
        self.assertIn("HugePages-2Mi", [v.get("emptyDir", {}).get("medium") for v in spec["volumes"]])

    def test_the_daemons_user_is_the_images(self):
        with open(os.path.join(FOLDER, "Dockerfile"), encoding="utf-8") as f:
            image = f.read()
        user = of_kind("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["securityContext"]
        self.assertIn(f"--gid {user['runAsGroup']} ", image)
        self.assertIn(f"--uid {user['runAsUser']} ", image)
        self.assertEqual(documents("compose.yaml")[0]["services"]["kvshmd"]["user"],
                         f"{user['runAsUser']}:{user['runAsGroup']}")


if __name__ == "__main__":
    try:
        podlib.Pod({}).end()
    except OSError as error:
        print(f"no namespaces of one's own here: {error}")
        sys.exit(77)
    unittest.main()
