# SPDX-License-Identifier: Apache-2.0
deps-kvshm-pin := kvshm-base include kvshm-arena kvshm-index
