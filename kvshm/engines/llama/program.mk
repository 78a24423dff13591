# SPDX-License-Identifier: Apache-2.0
# libkvshm-llama and kvshm-llama: built when setup.sh has unpacked the wheels, and not under a sanitizer (libllama is not built for one).

# One copy for all output directories.
engines-dir := build/engines
llama-dir := $(engines-dir)/ik_llama
llama-libs := $(wildcard $(llama-dir)/lib64/libllama.so)

# Found from the build directory wherever it is moved to, from PREFIX/bin, and from any other output directory.
llama-rpath := $$ORIGIN:$$ORIGIN/../lib:$$ORIGIN/engines/ik_llama/lib64:$$ORIGIN/../lib/kvshm/engines/ik_llama/lib64:$(abspath $(llama-dir)/lib64)

cflags-kvshm-engines-llama := -isystem $(llama-dir)/include
cflags-kvshm-engines-llama-program := -isystem $(llama-dir)/include -DKVSHM_ENGINES_DIR='"$(abspath $(engines-dir))"'

ifneq ($(and $(llama-libs),$(wildcard kvshm/client/*.c),$(wildcard kvshm/engines/llama/*.c),$(if $(SAN),,1)),)
# libllama finds libggml and libgomp by its own rpath.
llama-link := $(CC) $(LDFLAGS) -Wl,-rpath,'$(llama-rpath)' -Wl,--allow-shlib-undefined

programs += $(O)/libkvshm-llama.so $(O)/kvshm-llama
$(O)/libkvshm-llama.so: $(O)/lib/kvshm-engines-llama.a $(O)/libkvshm.so kvshm/engines/llama/libkvshm-llama.map
	$(call say,LD,$@)
	$(Q)$(llama-link) -shared -Wl,-soname,libkvshm-llama.so.0 -Wl,--version-script=kvshm/engines/llama/libkvshm-llama.map -o $@ -Wl,--whole-archive $< -Wl,--no-whole-archive -L$(O) -lkvshm $(llama-libs) -lcrypto
	@ln -sf libkvshm-llama.so $(O)/libkvshm-llama.so.0
$(O)/kvshm-llama: $(O)/lib/kvshm-engines-llama-program.a $(O)/libkvshm-llama.so
	$(call say,LD,$@)
	$(Q)$(llama-link) -o $@ -Wl,--whole-archive $< -Wl,--no-whole-archive -L$(O) -lkvshm-llama $(llama-libs) -ljansson -lmicrohttpd -lm
endif
