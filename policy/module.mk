# SPDX-License-Identifier: Apache-2.0
deps-policy := kvshm-base
cflags-policy := -ffp-contract=off
