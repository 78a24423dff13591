# SPDX-License-Identifier: Apache-2.0
# NIXL's plug-in, which looks for it by this name in $NIXL_PLUGIN_DIR: C++, as NIXL's interface is.  Where there is no
# compiler for that it is left out.
CXX := $(if $(filter default undefined,$(origin CXX)),g++,$(CXX))
nixl-plugin := $(if $(SAN),,$(if $(shell command -v $(lastword $(CXX))),$(O)/nixl/libplugin_KVSHM.so))

ifneq ($(nixl-plugin),)
all: $(nixl-plugin)
$(nixl-plugin): kvshm/engines/nixl/plugin.cc kvshm/engines/nixl/abi.hh $(O)/libkvshm.so
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++20 $(OPT) -g -fPIC -fvisibility=hidden -Wall -Wextra -Wshadow $(if $(WERROR),-Werror) $(CPPFLAGS) $(LDFLAGS) -shared -Wl,-rpath,'$$ORIGIN/..' -o $@ $< -L$(O) -lkvshm -lcrypto
endif
