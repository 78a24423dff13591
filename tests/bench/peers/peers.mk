# SPDX-License-Identifier: Apache-2.0
# The comparison with other stores: their packages are unpacked below build/peers, hiredis is used from there.
.PHONY: bench-peers
peers-root := build/peers/root/usr
peers-lib := $(peers-root)/lib/$(shell uname -m)-linux-gnu
peers-objs := $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/bench/peers/*.c))

cflags-tests-bench-peers := -isystem $(peers-root)/include

$(O)/tests/bench/peers/peers: $(peers-objs) $(O)/libkvshm.so
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -Wl,-rpath,'$(abspath $(O)):$(abspath $(peers-lib))' -o $@ $(peers-objs) -L$(O) -lkvshm -L$(peers-lib) -lhiredis

# Their headers are there only after the fetch: hence a make of its own.
bench-peers: all
	$(Q)tests/bench/peers/fetch.sh build/peers
	$(Q)$(MAKE) --no-print-directory $(O)/tests/bench/peers/peers
	$(Q)tests/bench/peers/run --build $(O)
