# SPDX-License-Identifier: Apache-2.0
deps-kvshm-stats := kvshm-base include
