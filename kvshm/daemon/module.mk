# SPDX-License-Identifier: Apache-2.0
deps-kvshm-daemon := kvshm-base include ipc kvshm-arena kvshm-pin kvshm-stats kvshm-cache
# DPDK's EAL, ring and dmadev, linked statically from few archives; nobody else links DPDK.
dpdk-prefix := $(if $(wildcard /usr/include/dpdk/rte_eal.h),,$(deps-prefix))
cflags-kvshm-daemon := -isystem $(dpdk-prefix)/usr/include/dpdk -isystem $(dpdk-prefix)/usr/include/x86_64-linux-gnu/dpdk -DRTE_USE_C11_MEM_MODEL=1 -mssse3
dpdk-lib := $(dpdk-prefix)/usr/lib/x86_64-linux-gnu
libs-kvshm-daemon := -Wl,--whole-archive $(foreach l,eal bus_vdev dma_skeleton,$(dpdk-lib)/librte_$(l).a) -Wl,--no-whole-archive \
	-Wl,--start-group $(foreach l,hash rcu dmadev ring timer telemetry kvargs,$(dpdk-lib)/librte_$(l).a) -Wl,--end-group -lnuma -lbsd -ldl -lm
