#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One vLLM engine in a process of its own answers some prompts; prints a line of JSON for each.

  vllm_once.py '{"model": "smol", "prompts": [[0, 2200]], "connector": {...} or null, "engine": {...}}'

A prompt is [first token, number] of the document.  With "wait": true it says READY and waits for a line first.
With KVSHM=1 in the environment and no connector named, the installed package's entry point chooses it.
"""
import dataclasses
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from vllmlib import Engine, document


def pass_over_llvmlite():
    """LMCache loads it; vLLM's search for kernels asks each module's values for their dictionary, and one of
    llvmlite's gives a function for it."""
    from vllm.triton_utils import dispatcher

    dispatcher.vars = lambda value: value.__dict__ if isinstance(value.__dict__, dict) else {}


def main():
    job = json.loads(sys.argv[1])
    pass_over_llvmlite()
    with Engine(job["model"], job.get("connector"), **job.get("engine", {})) as engine:
        prompts = [document(tokens, job["model"], skip) for skip, tokens in job["prompts"]]
        if job.get("wait"):
            print("READY", flush=True)
            sys.stdin.readline()
        for ids in prompts:
            answer = engine.run(ids)
            print("ANSWER", json.dumps(dataclasses.asdict(answer)), flush=True)


if __name__ == "__main__":
    main()
