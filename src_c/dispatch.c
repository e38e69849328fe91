/* Which code path runs: the best that the processor has, or the one that was asked for. */
#include "fastnn.h"

#include <string.h>

extern const fnn_kernels fnn_kernels_float32__base, fnn_kernels_float64__base;

static const char *reason = "the only path of this build";

fnn_status fnn_choose_isa(const char *name) {
    if (strcmp(name, "") == 0)
        return FNN_OK;
    if (strcmp(name, "base") != 0)
        return FNN_UNKNOWN_ISA;
    reason = "asked for by name";
    return FNN_OK;
}

const fnn_kernels *fnn_kernels_of(fnn_dtype dtype) {
    return dtype == FNN_FLOAT32 ? &fnn_kernels_float32__base : &fnn_kernels_float64__base;
}

const char *fnn_isa(void) {
    return "base";
}

const char *fnn_isa_reason(void) {
    return reason;
}

const char *fnn_isas(void) {
    return "base";
}

#ifdef __clang__
const char *fnn_compiler(void) {
    return __VERSION__;
}
#else
const char *fnn_compiler(void) {
    return "GCC " __VERSION__;
}
#endif
