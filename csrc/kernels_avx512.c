#define FPG_KERNELS fpg_kernels_avx512
#define FPG_ISA_NAME "avx512"
#include "kernels.inc"
