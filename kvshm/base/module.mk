# SPDX-License-Identifier: Apache-2.0
deps-kvshm-base :=
# The same checksum three times, for the vector unit that is found at run time.
ifeq ($(shell uname -m),x86_64)
cflags-kvshm/base/checksum_avx2.c := -mavx2
cflags-kvshm/base/checksum_avx512.c := -mavx512f
endif
