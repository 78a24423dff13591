# SPDX-License-Identifier: Apache-2.0
deps-ipc := kvshm-base include
