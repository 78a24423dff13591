# SPDX-License-Identifier: Apache-2.0
deps-kvshm-client := kvshm-base include ipc gpu kvshm-arena kvshm-index kvshm-pin
