# SPDX-License-Identifier: Apache-2.0
deps-utils := kvshm-base include policy gpu kvshm-arena kvshm-index kvshm-pin kvshm-stats kvshm-client ipc kvshm-cache
libs-utils := -ljansson -llzma -lzstd -lmicrohttpd -lzmq -lmsgpackc -lncursesw -ltinfo -lm
