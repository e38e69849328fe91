/* The baseline: plain C that runs on every processor, and what the other paths are judged by. */
#include "fastnn.h"

#include <math.h>
#include <string.h>

#define ISA base

#include "kernels/functions.inc"

#define REAL float
#define DTYPE float32
#include "kernels/all.inc"
#undef REAL
#undef DTYPE

#define REAL double
#define DTYPE float64
#include "kernels/all.inc"
#undef REAL
#undef DTYPE
