/* What the driver asks of the kernels of a path. */
#ifndef ULP_H
#define ULP_H

#include "fastnn.h"

/* Beyond the functions of fastnn.h: two that these are made of, and what uses them elsewhere. Of
 * softmax and cross entropy the rows are (x, 0), and the label is the second column. */
enum {
    ULP_EXPM1 = FNN_EXP + 1,
    ULP_LOG1P,
    ULP_SOFTMAX,
    ULP_CROSS_ENTROPY,
    ULP_BINARY_CROSS_ENTROPY_OF_0,
    ULP_BINARY_CROSS_ENTROPY_OF_1
};

enum { ULP_CHUNK = 4096 };

/* y[i] = f(x[i]) for i < n <= ULP_CHUNK: n floats or doubles. */
typedef void ulp_apply(void *y, const void *x, int64_t n, int function, double constant);

#endif
