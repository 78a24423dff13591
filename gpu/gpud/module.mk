# SPDX-License-Identifier: Apache-2.0
deps-gpu-gpud := kvshm-base include ipc gpu kvshm-arena kvshm-pin
