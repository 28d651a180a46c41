#define FPG_ENVIRONMENTS fpg_environments_baseline
#include "kernels/environments.inc"
