#define FPG_KERNELS fpg_kernels_avx512
#define FPG_ENVIRONMENTS fpg_environments_avx512
#define FPG_ISA_NAME "avx512"
#include "kernels/kernels.inc"
