# SPDX-License-Identifier: Apache-2.0
# The Python package: an extension for the limited API, so that one build serves 3.9 and later, with
# libkvshm.so beside it.  BUILD/python is importable as it is, `make wheel` packs it into BUILD/wheel.  Not
# under a sanitizer: the interpreter is not built for one.
PYTHON ?= python3

python-find = $(shell $(PYTHON) -c 'import os, sysconfig; p = sysconfig.get_path("include"); print(p if os.path.exists(p + "/Python.h") else "")' 2>/dev/null)
python-include := $(or $(python-find),$(patsubst %/Python.h,%,$(lastword $(wildcard $(deps-prefix)/usr/include/python3.*/Python.h))))

cflags-kvshm-python := $(if $(python-include),-isystem $(python-include))
python-srcs := $(wildcard kvshm/python/kvshm/*.py kvshm/python/kvshm/*/*.py kvshm/python/kvshm/*.pyi kvshm/python/kvshm/py.typed)
python-out := $(O)/python/kvshm

ifneq ($(and $(python-include),$(if $(SAN),,1)),)
python-files := $(python-out)/_kvshm.abi3.so $(python-out)/libkvshm.so.0 $(patsubst kvshm/python/kvshm/%,$(python-out)/%,$(python-srcs))
all: $(python-files)

$(python-out)/_kvshm.abi3.so: $(patsubst %.c,$(O)/obj/%.o,$(wildcard kvshm/python/*.c)) $(O)/libkvshm.so
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.o,$^) -L$(O) -lkvshm

$(python-out)/libkvshm.so.0: $(O)/libkvshm.so
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(python-out)/%: kvshm/python/kvshm/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
endif

.PHONY: python wheel
python: $(python-files)
	@$(if $(python-files),true,echo 'no Python.h for $(PYTHON): make setup'; false)

wheel: python
	$(Q)$(PYTHON) kvshm/python/pack.py --build $(O) --out $(O)/wheel
