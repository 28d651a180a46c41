/* fields.c - the lists of options and statistics as tables, for callers that know them by name. */
#include <math.h>

#include "fastpg.h"

#define STATISTIC(kind, name) {#name, kind, offsetof(fpg_stats, name), 0, ""},
#define COLLECT(kind, name, initial, range) {#name, kind, offsetof(fpg_collect, name), initial, range},
#define TRAIN_COLLECT(kind, name, initial, range) {#name, kind, offsetof(fpg_train_config, collect.name), initial, range},
#define TRAIN(kind, name, initial, range) {#name, kind, offsetof(fpg_train_config, name), initial, range},

#define FPG_FIELDS(function, ...) \
    int32_t function(const fpg_field **fields) \
    { \
        static const fpg_field table[] = {__VA_ARGS__}; \
        *fields = table; \
        return (int32_t)(sizeof table / sizeof *table); \
    }

FPG_FIELDS(fpg_statistics_fields, FPG_STATISTICS(STATISTIC))
FPG_FIELDS(fpg_collect_fields, FPG_COLLECT_OPTIONS(COLLECT))
FPG_FIELDS(fpg_train_fields, FPG_COLLECT_OPTIONS(TRAIN_COLLECT) FPG_TRAIN_OPTIONS(TRAIN))

fpg_stats fpg_stats_unknown(void)
{
    fpg_stats stats = {0};
    const fpg_field *fields;
    const int32_t count = fpg_statistics_fields(&fields);
    for (int32_t i = 0; i < count; i++)
        if (fields[i].kind == FPG_REAL)
            *(double *)((char *)&stats + fields[i].offset) = NAN;
    return stats;
}
