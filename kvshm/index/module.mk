# SPDX-License-Identifier: Apache-2.0
deps-kvshm-index := kvshm-base include kvshm-arena
