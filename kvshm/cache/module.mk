# SPDX-License-Identifier: Apache-2.0
deps-kvshm-cache := kvshm-base include policy kvshm-arena kvshm-index kvshm-pin kvshm-stats
