#define FPG_KERNELS fpg_kernels_avx2
#define FPG_ENVIRONMENTS fpg_environments_avx2
#define FPG_ISA_NAME "avx2"
#include "kernels/kernels.inc"
