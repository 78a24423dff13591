# SPDX-License-Identifier: Apache-2.0
deps-kvshm-arena := kvshm-base include
