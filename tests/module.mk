# SPDX-License-Identifier: Apache-2.0
# Tests: one program a source, linked with the modules whose headers it includes (and its own);
# so a module that does not build takes only the tests that need it with it.  tests/run counts all.

# the same folders as in tests/run
test-folders := $(wildcard $(addprefix tests/,unit stress model crash hostile abi fuzz guard))
test-srcs := $(sort $(if $(test-folders),$(shell find $(test-folders) -name '*.c')))
test-bins := $(patsubst tests/%.c,$(O)/tests/%,$(test-srcs))

# tests/lib as an archive: a test gets only what it uses of it
tests-lib-srcs := $(wildcard tests/lib/*.c)
tests-lib := $(if $(tests-lib-srcs),$(O)/lib/tests.a)
ifneq ($(tests-lib),)
$(O)/lib/tests.a: $(patsubst %.c,$(O)/obj/%.o,$(tests-lib-srcs))
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^
endif

# words FILE:MODULE, one for each of our headers that a test includes
hash := \#
test-includes := $(if $(test-srcs),$(shell grep -HoE '^$(hash)include ("[^"]+/|<kvshm/kvshm\.h>)' $(test-srcs) $(wildcard tests/lib/*.[ch]) | \
	sed -E 's,$(hash)include "(.*)/,\1,; s,$(hash)include <.*,kvshm/client,' | sort -u))
included-by = $(call name,$(patsubst $(1):%,%,$(filter $(1):%,$(test-includes))))
lib-mods := $(sort $(foreach f,$(wildcard tests/lib/*.[ch]),$(call included-by,$(f))))

# The modules of test source $(1): by its path, by its includes, and what those need.
own-mod = $(call name,$(patsubst tests/unit/%/,%,$(dir $(1))))
test-mods = $(call link-mods-of,$(filter $(mod-names),$(sort $(own-mod) $(call included-by,$(1)) $(if $(filter tests-lib,$(call included-by,$(1))),$(lib-mods)))))
link-mods-of = $(strip $(call uniq-last,$(filter $(mod-names),$(foreach m,$(1),$(call closure,$(m))))))

define test-rule
$(2): $(O)/obj/$(1:.c=.o) $(tests-lib) $(foreach m,$(3),$(O)/lib/$(m).a)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(foreach m,$(3),$(libs-$(m))) -lcmocka -lm
endef
$(foreach t,$(test-srcs),$(eval $(call test-rule,$(t),$(patsubst tests/%.c,$(O)/tests/%,$(t)),$(call test-mods,$(t)))))

# The driver that the tests put in the place of libcuda.so.1; the kernels' processor twins come from gpu/.
fake-cuda := $(if $(wildcard gpu/*.c),$(O)/fake/libcuda.so.1)
ifneq ($(fake-cuda),)
$(fake-cuda): $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/fake/*.c)) $(O)/lib/gpu.a $(O)/lib/kvshm-base.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libcuda.so.1 -Wl,--exclude-libs,ALL -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
endif

# The same for GPUDirect Storage's library; it asks the fake driver that its process has loaded.
fake-cufile := $(if $(wildcard gpu/cufile_syms.def),$(O)/fake/libcufile.so.0)
ifneq ($(fake-cufile),)
$(fake-cufile): $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/fake/cufile/*.c))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libcufile.so.0 -o $@ $^
endif

# A machine of two NUMA nodes, preloaded into the daemon.
fake-numa := $(if $(wildcard tests/fake/numa/two_nodes.c),$(O)/fake/libtwonodes.so)
$(fake-numa): tests/fake/numa/two_nodes.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -fPIC $(WARN) -shared -o $@ $<

.PHONY: check check-bins test-programs lint guard-update engines-nixl
test-programs: $(test-bins) $(fake-cuda) $(fake-numa) $(fake-cufile)
check-bins: all test-programs

# The build goes on past an error, and the runner counts it: no test vanishes unseen.
check: setup
	$(Q)$(MAKE) --no-print-directory --keep-going check-bins; status=$$?; \
	tests/run --build $(O) --build-status $$status $(if $(filter 1,$(V)),-v)

engines-all: engines-nixl
engines-nixl:
	-$(Q)tests/engines/nixl.sh $(engines-dir)

lint:
	$(Q)tests/lint/run

guard-update: $(O)/tests/guard/helper/paths
	$(Q)tests/guard/run --build $(O) --update
