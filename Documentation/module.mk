# SPDX-License-Identifier: Apache-2.0
# The examples: built as a user would build them, against the public headers and the shared library.
example-srcs := $(wildcard Documentation/examples/*.c)
examples := $(if $(wildcard kvshm/client/*.c),$(patsubst Documentation/examples/%.c,$(O)/examples/%,$(example-srcs)))

$(examples): $(O)/examples/%: Documentation/examples/%.c $(wildcard Documentation/examples/*.h kvshm/include/kvshm/*.h) $(O)/libkvshm.so
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(OPT) -g $(WARN) $(san-flags) -Ikvshm/include -o $@ $< -L$(O) -lkvshm -Wl,-rpath,'$$ORIGIN/..'
