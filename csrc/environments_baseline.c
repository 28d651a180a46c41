#define FPG_ENVIRONMENTS fpg_environments_baseline
#include "environments.inc"
