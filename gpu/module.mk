# SPDX-License-Identifier: Apache-2.0
deps-gpu := kvshm-base
