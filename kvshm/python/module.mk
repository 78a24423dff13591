# SPDX-License-Identifier: Apache-2.0
deps-kvshm-python := include
