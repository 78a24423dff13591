# SPDX-License-Identifier: Apache-2.0
"""A real vLLM on the CPU in the test's own process: engines one after the other, prompts, what came of them."""
import dataclasses
import gc
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODELS = os.environ.get("KVSHM_MODELS", os.path.join(ROOT, "build", "engines", "vllm", "models"))
DOCUMENT = "/usr/share/common-licenses/GPL-3"   # base-files: on every Debian
MIB = 1 << 20
NEW_TOKENS = 24
LIMIT_S = 700

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# One thread: several spin at each layer for one that has lost its core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1",
                  VLLM_HOST_IP="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
sys.path.insert(0, os.path.join(ROOT, "tests", "python"))


def model(name):
    return os.path.join(MODELS, name)


@dataclasses.dataclass
class Answer:
    tokens: list
    cached: int
    ttft_ms: float
    finish: str


def connector_config(policy="recompute", role="kv_both", **extra):
    return {"kv_connector": "KvshmConnector", "kv_role": role, "kv_connector_module_path": "kvshm.vllm",
            "kv_load_failure_policy": policy, "kv_connector_extra_config": extra}


class Engine:
    """@connector: its configuration, None: no cache."""

    def __init__(self, name="tiny", connector=None, kv_mib=256, **options):
        from vllm import LLM

        settings = dict(dtype="bfloat16", enforce_eager=True, max_model_len=4096, max_num_seqs=8, seed=0,
                        enable_prefix_caching=False, disable_log_stats=False,
                        kv_cache_memory_bytes=kv_mib * MIB, **({"kv_transfer_config": connector} if connector else {}))
        settings.update(options)
        self.llm = LLM(model(name), **settings)
        self.run(list(range(10, 40)), new=2)    # the first step of an engine is slow

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Before the next one is made: what vLLM has once a process must not be torn down under it, later."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()
        cleanup_dist_env_and_memory()

    def set_options(self, **options):
        """As if the connector had been configured so."""
        for half in self.scheduler, self.worker:
            half.options = dataclasses.replace(half.options, **options)

    def run(self, ids, new=NEW_TOKENS, **sampling):
        return self.run_many([ids], new, **sampling)[0]

    def run_many(self, prompts, new=NEW_TOKENS, **sampling):
        from vllm import SamplingParams

        params = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, **sampling)
        outs = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [Answer(list(o.outputs[0].token_ids), o.num_cached_tokens,
                       (o.metrics.first_token_latency or 0) * 1e3 if o.metrics else 0, o.outputs[0].finish_reason)
                for o in outs]

    @property
    def core(self):
        return self.llm.llm_engine.engine_core.engine_core

    @property
    def scheduler(self):
        """The connector's half in the scheduler."""
        return self.core.scheduler.connector.scheduler

    @property
    def worker(self):
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        return get_kv_transfer_group().worker


def document(tokens, name="tiny", skip=0):
    """Token ids of a text that is the same on every machine."""
    from transformers import AutoTokenizer

    with open(DOCUMENT, encoding="utf-8") as f:
        return AutoTokenizer.from_pretrained(model(name)).encode(f.read())[skip:skip + tokens]


def answers(job, **env):
    """Of an engine in a process of its own, vllm_once.py."""
    done = subprocess.run([sys.executable, os.path.join(HERE, "vllm_once.py"), json.dumps(job)],
                          env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=LIMIT_S, check=False)
    found = [Answer(**json.loads(line[7:])) for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if done.returncode or len(found) != len(job["prompts"]):
        raise AssertionError(f"engine ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return found
