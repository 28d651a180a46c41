#define FPG_ENVIRONMENTS fpg_environments_avx512
#include "kernels/environments.inc"
