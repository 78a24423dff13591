/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cufile_types.h - what we use of libcufile's binary interface
 *
 * Written from its documentation; reached at run time only.  tests/unit/gpu/test_cuda_types.c compares it with
 * cufile.h where one is installed.
 */
#ifndef GPU_CUFILE_TYPES_H
#define GPU_CUFILE_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Results: 0, or one of these; a read or write returns them negative, or -1 with errno. */
enum {
	CU_FILE_SUCCESS = 0,
	CU_FILE_DRIVER_NOT_INITIALIZED = 5001,
	CU_FILE_PLATFORM_NOT_SUPPORTED = 5007,
	CU_FILE_IO_NOT_SUPPORTED = 5008,
	CU_FILE_DEVICE_NOT_SUPPORTED = 5009,
	CU_FILE_CUDA_DRIVER_ERROR = 5011,
	CU_FILE_CUDA_POINTER_INVALID = 5012,
	CU_FILE_INVALID_VALUE = 5022,
	CU_FILE_MEMORY_ALREADY_REGISTERED = 5023,
	CU_FILE_PERMISSION_DENIED = 5025,
	CU_FILE_DRIVER_ALREADY_OPEN = 5026,
	CU_FILE_HANDLE_ALREADY_REGISTERED = 5028,
	CU_FILE_IO_DISABLED = 5034,
	CU_FILE_GPU_MEMORY_PINNING_FAILED = 5036,
	CU_FILE_NOMEM_ERROR = 5043,
	CU_FILE_IO_ERROR = 5044,
};

typedef struct CUfileError {
	int err;
	int cu_err;			/* of the driver, with CU_FILE_CUDA_DRIVER_ERROR */
} CUfileError_t;

typedef void *CUfileHandle_t;

#define CU_FILE_HANDLE_TYPE_OPAQUE_FD 1

typedef struct CUfileDescr_t {
	int type;
	union {
		int fd;
		void *handle;
	} handle;
	const void *fs_ops;		/* NULL: the kernel's file systems */
} CUfileDescr_t;

#define CU_FILE_NVME_P2P_SUPPORTED 11	/* bit of dstatusflags: without nvidia-fs, by the kernel's own peer DMA */

typedef struct CUfileDrvProps {
	struct {
		unsigned major_version, minor_version;	/* of nvidia-fs; 0: it is not there */
		size_t poll_thresh_size, max_direct_io_size;
		unsigned dstatusflags, dcontrolflags;
	} nvfs;
	unsigned fflags;
	unsigned max_device_cache_size, per_buffer_cache_size, max_device_pinned_mem_size;
	unsigned max_batch_io_size, max_batch_io_timeout_msecs;
} CUfileDrvProps_t;

#endif
