/* ARM processors of 64 bits: all have NEON. */
#ifdef __aarch64__
#    define ISA neon
#    define VECTOR_BYTES 16
#    include "kernels/tiles_of_32.inc"

#    include "kernels/path.inc"
#endif
