#define FPG_KERNELS fpg_kernels_baseline
#define FPG_ENVIRONMENTS fpg_environments_baseline
#define FPG_ISA_NAME "baseline"
#include "kernels/kernels.inc"
