# SPDX-License-Identifier: Apache-2.0
# Around the build: set-up, demo, installation.  Lines that begin with `## ` are what `make help` prints.

## all       build the daemon, the library, the tool and, with the engine wheels, kvshm-llama (default)
## setup     install what is missing: Debian packages, the engine wheels into build/engines
## demo      three real engines share a long prefix; ends with "demo: ok"
## demo-vllm  two vLLM processes share a prompt, also with the daemon dead; the first run fetches 0.9 GB
## check     all tests: "N passed, N failed"; needs no root, no hugepages, no GPU
## check-engines  tests on installed engines (vLLM, LMCache, SGLang): "N passed, N failed"; the first run fetches 1.2 GB
## guard-update  accept what acquire, resolve, release and put cost now (tests/guard)
## lint      layers, headers, ordering labels, forbidden words
## bench     match, resolve, get, put, qp, evict, attach against a private daemon
## bench-peers  the same work on kvshm, Redis, memcached, files, Mooncake Store and LMCache, in one run
## fuzz      build the fuzz targets with clang, run each as often as CI does
## stress    the thread tests under TSan, and the mutants that they must find
## soak      the long forms of crash and fuzz tests: hours
## reliability-report  what crash, hostile, fuzz and model tests reach, against their bars
## format    run clang-format over staged lines; BASE=main: and over those that a branch has changed
## wheel     the Python package as a wheel, in build/wheel
## htmldocs  the documentation as a site, in build/htmldocs
## install   into PREFIX (/usr/local), below DESTDIR if set
## deb       Debian packages of this tree into build/deb
## check-packages  the same, then install, serve, upgrade and remove them in a fresh root (as root)
## clean     remove what was built; engines and unpacked packages stay
## help      this list
##
## knobs     O=dir  V=1  SAN=asan|tsan|ubsan (a comma list)  CC=clang  WERROR=1  PREFIX=  DESTDIR=

.PHONY: setup htmldocs demo demo-vllm engines-vllm engines-all check-engines help bench format install clean fuzz stress soak reliability-report deb check-packages

setup:
	$(Q)utils/dist/setup.sh $(deps-prefix) $(engines-dir)

# The engine program is known to make only once its wheel is there: hence a make of its own.
demo: setup
	$(Q)$(MAKE) --no-print-directory all
	$(Q)python3 utils/dist/demo.py --build $(O)

# Real engines in a virtual environment of their own, with the wheel of this build.
engines-vllm: setup
	$(Q)utils/dist/engines/vllm.sh $(engines-dir)

# What cannot be had beside it is skipped by its tests.
engines-all: engines-vllm
	-$(Q)utils/dist/engines/lmcache.sh $(engines-dir)
	-$(Q)utils/dist/engines/sglang.sh $(engines-dir)

check-engines: engines-all
	$(Q)$(MAKE) --no-print-directory all wheel
	$(Q)tests/engines/run --build $(O) --engines $(engines-dir)

demo-vllm: engines-vllm
	$(Q)$(MAKE) --no-print-directory all wheel
	$(Q)python3 utils/dist/engines/demo_vllm.py --build $(O) --engines $(engines-dir)

bench: all
	$(Q)for what in match resolve get put qp evict attach; do $(O)/kvshm bench $$what || exit; done

fuzz:
	$(Q)tests/fuzz/run --build $(O)

stress:
	$(Q)$(MAKE) --no-print-directory SAN=tsan O=build/san-tsan test-programs
	$(Q)tests/run --build build/san-tsan --only '^stress/[^.]*$$'
	$(Q)tests/run --build $(O) --only '^stress/test_mutants'

soak: check-bins
	$(Q)tests/crash/run --build $(O) --soak
	$(Q)tests/fuzz/run --build $(O) --runs 20000000

htmldocs: setup
	$(Q)python3 Documentation/sphinx/stage.py $(O)/htmldocs-src
	$(Q)KVSHM_ROOT=$(CURDIR) $(engines-dir)/python/bin/python -m sphinx -q -W -E -b html $(O)/htmldocs-src $(O)/htmldocs
	@printf 'site: %s\n' $(O)/htmldocs/index.html

deb:
	$(Q)utils/dist/deb.sh $(O)/deb

check-packages: deb
	$(Q)tests/packages/run $(O)/deb

reliability-report: check-bins
	$(Q)utils/dist/reliability_report.py --build $(O)

help:
	@sed -n 's/^## \{0,1\}//p' $(MAKEFILE_LIST)

format:
	$(Q)utils/dist/format.sh $(BASE)

clean:
	$(Q)if [ -d $(O)/obj ]; then find $(O) -mindepth 1 -maxdepth 1 ! -name engines ! -name deps -exec rm -rf {} +; fi

# ---- installation ----------------------------------------------------------------------------
inst = $(DESTDIR)$(PREFIX)
inst-version = $(shell sed -n 's/.*KVSHM_VERSION_STRING "\(.*\)"/\1/p' kvshm/include/kvshm/version.h)
inst-man = $(foreach s,1 3 5 7 8,$(if $(wildcard Documentation/man/*.$(s)),$(s)))
# kvshm-llama looks for libllama there, and libllama for its own libraries beside it; the model stays in build/.
inst-llama = $(inst)/lib/kvshm/engines/ik_llama

# the packages have daemons in sbin
inst-sbin = $(if $(filter /usr,$(PREFIX)),/usr/sbin,$(PREFIX)/bin)
inst-kvshmd = $(inst-sbin)/kvshmd

install: all
	$(Q)install -d $(inst)/bin $(inst)/lib/pkgconfig $(inst)/include/kvshm
	$(Q)install -m 755 $(filter-out %.so,$(programs)) $(inst)/bin
	$(Q)$(foreach l,$(notdir $(filter %.so,$(programs))),install -m 755 $(O)/$(l) $(inst)/lib/$(l).$(inst-version) && ln -sf $(l).$(inst-version) $(inst)/lib/$(l).0 && ln -sf $(l).0 $(inst)/lib/$(l) &&) true
	$(Q)install -m 644 $(static-lib) $(inst)/lib
	$(Q)install -m 644 kvshm/include/kvshm/*.h $(inst)/include/kvshm
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(inst-version)|g' kvshm/client/kvshm.pc.in > $(inst)/lib/pkgconfig/kvshm.pc
	$(Q)$(foreach s,$(inst-man),install -d $(inst)/share/man/man$(s) && install -m 644 Documentation/man/*.$(s) $(inst)/share/man/man$(s) &&) true
	$(Q)for call in $$(sed -n '/^\.Sh DESCRIPTION/q; s/^\.Fn \(kvshm_[a-z_]*\) .*/\1/p' Documentation/man/libkvshm.3); do echo '.so man3/libkvshm.3' > "$(inst)/share/man/man3/$$call.3"; done
	$(Q)install -d $(inst)/share/kvshm/grafana $(inst)/share/kvshm/prometheus $(inst)/share/kvshm/bpftrace
	$(Q)for f in utils/dist/bpftrace/*.bt; do sed 's|/usr/sbin/kvshmd|$(inst-kvshmd)|' "$$f" > "$(inst)/share/kvshm/bpftrace/$${f##*/}"; done
	$(Q)install -m 644 utils/dist/grafana/kvshm.json $(inst)/share/kvshm/grafana
	$(Q)install -m 644 utils/dist/prometheus/kvshm.rules.yml $(inst)/share/kvshm/prometheus
	$(Q)install -d $(inst)/lib/systemd/system $(inst)/lib/sysusers.d $(inst)/lib/tmpfiles.d $(inst)/share/doc/kvshm/examples $(inst)/share/bash-completion/completions
	$(Q)for u in utils/dist/systemd/*.service utils/dist/systemd/*.socket utils/dist/systemd/*.mount; do sed 's|/usr/sbin/|$(inst-sbin)/|; s|/usr/bin/kvshm |$(PREFIX)/bin/kvshm |' "$$u" > "$(inst)/lib/systemd/system/$${u##*/}"; done
	$(Q)for p in kvshm kvshm-tools; do install -m 644 utils/dist/systemd/$$p.sysusers $(inst)/lib/sysusers.d/$$p.conf; done
	$(Q)install -m 644 utils/dist/systemd/kvshm.tmpfiles $(inst)/lib/tmpfiles.d/kvshm.conf
	$(Q)install -m 644 utils/dist/systemd/*.example $(inst)/share/doc/kvshm/examples
	$(Q)install -m 644 utils/dist/containers/*.yaml $(inst)/share/doc/kvshm/examples
	$(Q)install -m 644 utils/dist/systemd/main.conf $(inst)/share/kvshm
	$(Q)install -m 644 utils/dist/completions/kvshm.bash $(inst)/share/bash-completion/completions/kvshm
	$(Q)for p in kvshmd kvshm-gpud; do ln -sf kvshm $(inst)/share/bash-completion/completions/$$p; done
ifneq ($(llama-libs),)
	$(Q)install -d $(inst-llama)/lib64 $(inst-llama)/ik_llama_cpp_python.libs
	$(Q)install -m 644 $(llama-libs) $(inst-llama)/lib64
	$(Q)install -m 644 $(filter-out %/$(notdir $(wildcard $(llama-dir)/ik_llama_cpp_python.libs/libllama*)),$(wildcard $(llama-dir)/ik_llama_cpp_python.libs/*.so*)) $(inst-llama)/ik_llama_cpp_python.libs
endif
	@printf 'installed below %s\n' '$(inst)'
