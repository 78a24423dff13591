# SPDX-License-Identifier: Apache-2.0
# The front door.  `make help` lists the targets; each folder's module.mk says what it needs.

.DEFAULT_GOAL := all
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# ---- knobs --------------------------------------------------------------------------------
comma := ,
SAN ?=
O ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
V ?= 0
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
DESTDIR ?=
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- modules: folders whose module.mk holds one deps- line (and libs- for third parties) ----
modules := kvshm/base policy gpu gpu/gpud ipc kvshm/arena kvshm/stats kvshm/index kvshm/pin kvshm/cache \
	   kvshm/client kvshm/daemon kvshm/engines/llama kvshm/engines/llama/program utils
modules := $(foreach m,$(modules),$(if $(wildcard $(m)/*.c),$(m)))
include $(filter-out tests/%,$(wildcard */module.mk gpu/*/module.mk kvshm/*/module.mk kvshm/engines/*/module.mk kvshm/engines/*/*/module.mk))
name = $(subst /,-,$(1))
mod-names := $(call name,$(modules))
path-of = $(foreach m,$(modules),$(if $(filter $(1),$(call name,$(m))),$(m)))

# What a module needs, itself included, the needing before the needed (link order).
closure = $(1) $(foreach d,$(filter-out include,$(deps-$(1))),$(call closure,$(d)))
uniq-last = $(if $(1),$(if $(filter $(firstword $(1)),$(wordlist 2,999,$(1))),,$(firstword $(1))) $(call uniq-last,$(wordlist 2,999,$(1))))
link-mods = $(strip $(call uniq-last,$(filter $(mod-names),$(call closure,$(1)))))
archives = $(foreach m,$(call link-mods,$(1)),$(O)/lib/$(m).a)
link-libs = $(foreach m,$(call link-mods,$(1)),$(libs-$(m)))

# ---- flags ---------------------------------------------------------------------------------
OPT ?= $(if $(SAN),-O1,-O2)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter $(if $(WERROR),-Werror)
san-flags := $(if $(SAN),-fsanitize=$(if $(filter tsan,$(SAN)),thread,$(subst asan,address,$(subst ubsan,undefined,$(SAN)))) -fno-sanitize-recover=all -fno-omit-frame-pointer -DKVSHM_SAN=1)
# one for all O: what `make setup` unpacks where it may not install
deps-prefix := $(abspath build/deps)
CPPFLAGS += -D_GNU_SOURCE -Ikvshm/include -iquote . $(if $(wildcard $(deps-prefix)/usr/include),-isystem $(deps-prefix)/usr/include)
CFLAGS += -std=gnu11 $(OPT) -g -fPIC -fno-strict-aliasing -fvisibility=hidden $(WARN) $(san-flags)
LDFLAGS += $(san-flags) -pthread -Wl,--as-needed $(if $(wildcard $(deps-prefix)/usr/lib),-L$(deps-prefix)/usr/lib/x86_64-linux-gnu -Wl$(comma)-rpath$(comma)$(deps-prefix)/usr/lib/x86_64-linux-gnu)

# ---- objects and archives ------------------------------------------------------------------
# a folder's own, and what its module.mk names from below it
srcs-of = $(sort $(wildcard $(1)/*.c) $(srcs-$(call name,$(1))))
objs-of = $(patsubst %.c,$(O)/obj/%.o,$(call srcs-of,$(1)))

# a folder's own flags (a unit test has those of the folder that it tests), and a file's
cflags-of = $(cflags-$(call name,$(patsubst tests/unit/%,%,$(patsubst %/,%,$(dir $(1)))))) $(cflags-$(1))

$(O)/obj/%.o: %.c $(O)/obj/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call cflags-of,$<) -MMD -MP -c -o $@ $<

# Rebuild everything when the flags change, and only then.
# with <sys/sdt.h> there are probes (kvshm/base/usdt.h)
all-flags = $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(wildcard /usr/include/sys/sdt.h /usr/include/*/sys/sdt.h $(deps-prefix)/usr/include/*/sys/sdt.h) $(foreach v,$(sort $(filter cflags-% libs-%,$(.VARIABLES))),$(v)=$($(v)))
$(O)/obj/flags: FORCE
	@$(shell mkdir -p $(@D))$(file >$@.new,$(all-flags))cmp -s $@.new $@ && rm $@.new || mv $@.new $@

define archive-rule
$(O)/lib/$(call name,$(1)).a: $(call objs-of,$(1))
	$$(call say,AR,$$@)
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach m,$(modules),$(eval $(call archive-rule,$(m))))

# ---- programs and the library ----------------------------------------------------------------
programs :=
ifneq ($(wildcard utils/*.c),)
programs += $(O)/kvshm
$(O)/kvshm: $(call archives,utils)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(O)/lib/utils.a -Wl,--no-whole-archive -Wl,--start-group $(filter-out $(O)/lib/utils.a,$^) -Wl,--end-group $(call link-libs,utils)
endif
ifneq ($(wildcard kvshm/daemon/main.c),)
programs += $(O)/kvshmd
$(O)/kvshmd: $(call archives,kvshm-daemon)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(O)/lib/kvshm-daemon.a -Wl,--no-whole-archive -Wl,--start-group $(filter-out $(O)/lib/kvshm-daemon.a,$^) -Wl,--end-group $(call link-libs,kvshm-daemon)
endif
ifneq ($(wildcard gpu/gpud/main.c),)
programs += $(O)/kvshm-gpud
$(O)/kvshm-gpud: $(call archives,gpu-gpud)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(O)/lib/gpu-gpud.a -Wl,--no-whole-archive -Wl,--start-group $(filter-out $(O)/lib/gpu-gpud.a,$^) -Wl,--end-group $(call link-libs,gpu-gpud)
endif
ifneq ($(wildcard kvshm/client/*.c),)
programs += $(O)/libkvshm.so
$(O)/libkvshm.so: $(call archives,kvshm-client) kvshm/client/libkvshm.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libkvshm.so.0 -Wl,--version-script=kvshm/client/libkvshm.map -o $@ -Wl,--whole-archive $(O)/lib/kvshm-client.a -Wl,--no-whole-archive -Wl,--start-group $(filter-out $(O)/lib/kvshm-client.a %.map,$^) -Wl,--end-group $(call link-libs,kvshm-client)
	@ln -sf libkvshm.so $(O)/libkvshm.so.0
# one object, so that what is hidden is nobody else's name
static-lib := $(O)/libkvshm.a
$(static-lib): $(call archives,kvshm-client)
	$(call say,AR,$@)
	$(Q)ld -r -o $(O)/obj/libkvshm.o --whole-archive $(O)/lib/kvshm-client.a --no-whole-archive --start-group $(filter-out $(O)/lib/kvshm-client.a,$^) --end-group
	$(Q)objcopy --localize-hidden $(O)/obj/libkvshm.o
	$(Q)rm -f $@ && ar rcs $@ $(O)/obj/libkvshm.o
endif
-include kvshm/python/python.mk
-include kvshm/engines/llama/program.mk
-include kvshm/engines/nixl/plugin.mk

.PHONY: all FORCE
all: $(programs) $(static-lib) $(examples)

# ---- the rest, by subject --------------------------------------------------------------------
include tests/module.mk
include $(wildcard tests/bench/peers/peers.mk)
include utils/dist/dist.mk

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
