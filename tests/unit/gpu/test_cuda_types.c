/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gpu/cuda_types.h says of the driver's binary interface, and gpu/cufile_types.h of GPUDirect Storage's, against the
 * toolkit's own headers where they are installed.
 */
#include "gpu/cuda_types.h"
#include "gpu/cufile_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"

#define INCLUDE "/usr/local/cuda/include"

#define VALUE(name) { #name, (long long)(name) }
#define SIZE(name) { "sizeof(" #name ")", (long long)sizeof(name) }
#define AT(type, field) { "__builtin_offsetof(" #type ", " #field ")", (long long)offsetof(type, field) }

struct fact {
	const char *text;		/* an expression in both headers */
	long long value;		/* by ours */
};

static const struct fact driver_facts[] = {
	VALUE(CUDA_ERROR_ECC_UNCORRECTABLE), VALUE(CUDA_ERROR_NOT_READY), VALUE(CUDA_ERROR_ILLEGAL_ADDRESS),
	VALUE(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED), VALUE(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED),
	VALUE(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED), VALUE(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED),
	VALUE(CUDA_ERROR_LAUNCH_FAILED), VALUE(CUDA_ERROR_NOT_PERMITTED), VALUE(CUDA_ERROR_NOT_SUPPORTED),
	VALUE(CUDA_ERROR_DEVICE_UNAVAILABLE), VALUE(CUDA_ERROR_STUB_LIBRARY), VALUE(CUDA_ERROR_NOT_FOUND),
	VALUE(CU_DEVICE_ATTRIBUTE_INTEGRATED), VALUE(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID), VALUE(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID),
	VALUE(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID), VALUE(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT),
	VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
	VALUE(CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED), VALUE(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED),
	VALUE(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED),
	VALUE(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED), VALUE(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED),
	VALUE(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED), VALUE(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS),
	VALUE(CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED), VALUE(CU_MEMHOSTREGISTER_PORTABLE), VALUE(CU_MEMHOSTREGISTER_DEVICEMAP),
	VALUE(CU_MEMHOSTREGISTER_READ_ONLY), VALUE(CU_STREAM_NON_BLOCKING), VALUE(CU_EVENT_DISABLE_TIMING),
	VALUE(CU_EVENT_INTERPROCESS), VALUE(CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS), VALUE(CU_STREAM_WAIT_VALUE_GEQ),
	VALUE(CU_STREAM_CAPTURE_MODE_RELAXED), VALUE(CU_MEM_ALLOCATION_TYPE_PINNED),
	VALUE(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR), VALUE(CU_MEM_LOCATION_TYPE_DEVICE), VALUE(CU_MEM_LOCATION_TYPE_HOST),
	VALUE(CU_MEM_ACCESS_FLAGS_PROT_READ), VALUE(CU_MEM_ACCESS_FLAGS_PROT_READWRITE), VALUE(CU_MEM_ALLOC_GRANULARITY_MINIMUM),
	VALUE(CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD), VALUE(CU_POINTER_ATTRIBUTE_MEMORY_TYPE),
	VALUE(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE), VALUE(CU_MEMORYTYPE_HOST), VALUE(CU_MEMORYTYPE_DEVICE),
	VALUE(CU_MEMCPY_SRC_ACCESS_ORDER_STREAM), VALUE(CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE), SIZE(CUuuid),
	SIZE(CUipcMemHandle), SIZE(CUipcEventHandle), SIZE(CUDA_MEMCPY2D), SIZE(CUmemAllocationProp), SIZE(CUmemAccessDesc),
	SIZE(CUmemcpyAttributes), AT(CUDA_MEMCPY2D, srcHost), AT(CUDA_MEMCPY2D, srcPitch), AT(CUDA_MEMCPY2D, dstXInBytes),
	AT(CUDA_MEMCPY2D, dstDevice), AT(CUDA_MEMCPY2D, WidthInBytes), AT(CUDA_MEMCPY2D, Height),
	AT(CUmemAllocationProp, location), AT(CUmemAllocationProp, allocFlags), AT(CUmemcpyAttributes, flags),
};

static const struct fact storage_facts[] = {
	VALUE(CU_FILE_SUCCESS), VALUE(CU_FILE_DRIVER_NOT_INITIALIZED), VALUE(CU_FILE_PLATFORM_NOT_SUPPORTED),
	VALUE(CU_FILE_IO_NOT_SUPPORTED), VALUE(CU_FILE_DEVICE_NOT_SUPPORTED), VALUE(CU_FILE_CUDA_DRIVER_ERROR),
	VALUE(CU_FILE_CUDA_POINTER_INVALID), VALUE(CU_FILE_INVALID_VALUE), VALUE(CU_FILE_MEMORY_ALREADY_REGISTERED),
	VALUE(CU_FILE_PERMISSION_DENIED), VALUE(CU_FILE_DRIVER_ALREADY_OPEN), VALUE(CU_FILE_HANDLE_ALREADY_REGISTERED),
	VALUE(CU_FILE_IO_DISABLED), VALUE(CU_FILE_GPU_MEMORY_PINNING_FAILED), VALUE(CU_FILE_NOMEM_ERROR),
	VALUE(CU_FILE_IO_ERROR), VALUE(CU_FILE_HANDLE_TYPE_OPAQUE_FD), VALUE(CU_FILE_NVME_P2P_SUPPORTED),
	SIZE(CUfileError_t), SIZE(CUfileDescr_t), AT(CUfileError_t, cu_err), AT(CUfileDescr_t, handle.fd),
	AT(CUfileDescr_t, fs_ops), AT(CUfileDrvProps_t, nvfs.minor_version), AT(CUfileDrvProps_t, nvfs.dstatusflags),
	AT(CUfileDrvProps_t, fflags), AT(CUfileDrvProps_t, max_device_pinned_mem_size),
};

static void say_the_same(const char *header, const struct fact *facts, unsigned nr)
{
	char dir[256], cmd[1024];
	const char *tmp = getenv("TMPDIR");
	FILE *f;

	if (access(header, R_OK)) {
		print_message("no %s here\n", header);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/kvshm-cuda-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "%s/facts.c", dir);
	f = fopen(cmd, "we");
	assert_non_null(f);
	fprintf(f, "#include \"%s\"\n", header);
	for (unsigned i = 0; i < nr; i++)
		fprintf(f, "_Static_assert((long long)(%s) == %lld, \"%s\");\n", facts[i].text, facts[i].value, facts[i].text);
	fclose(f);
	snprintf(cmd, sizeof(cmd), "gcc -I%s -fsyntax-only %s/facts.c; ret=$?; rm -r %s; exit $ret", INCLUDE, dir, dir);
	assert_int_equal(system(cmd), 0);
}

static void toolkit_says_the_same(void **state)
{
	(void)state;
	say_the_same(INCLUDE "/cuda.h", driver_facts, ARRAY_SIZE(driver_facts));
}

static void storage_says_the_same(void **state)
{
	(void)state;
	say_the_same(INCLUDE "/cufile.h", storage_facts, ARRAY_SIZE(storage_facts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(toolkit_says_the_same),
		cmocka_unit_test(storage_says_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
