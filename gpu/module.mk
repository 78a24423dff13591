# SPDX-License-Identifier: Apache-2.0
deps-gpu := kvshm-base
srcs-gpu := gpu/kernels/twin.c

# The kernels as text for the driver, in the object file of kern_text.c.
kern-srcs := gpu/kern_args.h $(sort $(wildcard gpu/kernels/*.h gpu/kernels/*.cu))
cflags-gpu/kern_text.c := -DKERN_PTX='"$(O)/obj/gpu/kernels.ptx"'
$(O)/obj/gpu/kern_text.o: $(O)/obj/gpu/kernels.ptx
$(O)/obj/gpu/kernels.ptx: $(kern-srcs) gpu/kernels/kernels.ptx gpu/kernels/make-ptx
	$(call say,PTX,$@)
	@mkdir -p $(@D)
	$(Q)gpu/kernels/make-ptx $@

.PHONY: ptx-update
ptx-update:
	$(Q)gpu/kernels/make-ptx --update gpu/kernels/kernels.ptx
