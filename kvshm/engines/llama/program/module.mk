# SPDX-License-Identifier: Apache-2.0
deps-kvshm-engines-llama-program := include
