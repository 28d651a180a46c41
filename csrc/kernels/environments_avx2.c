#define FPG_ENVIRONMENTS fpg_environments_avx2
#include "kernels/environments.inc"
