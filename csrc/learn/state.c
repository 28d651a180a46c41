/* state.c - the entries of one or several objects, copied away and back: how an iteration is undone. */
#include "learn/agent.h"

static size_t size_of(const fpg_entry *entry)
{
    const int is_long = entry->kind == FPG_ENTRY_DOUBLE || entry->kind == FPG_ENTRY_INT64;
    return (size_t)entry->count * (is_long ? 8 : 4);
}

int fpg_state_init(fpg_state *state)
{
    size_t size = 0;
    for (int32_t i = 0; i < state->num_entries; i++)
        size += size_of(&state->entries[i]);
    state->copy = fpg_alloc(size, 1);
    return state->copy != NULL;
}

void fpg_state_free(fpg_state *state)
{
    fpg_free(state->copy);
    state->copy = NULL;
}

size_t fpg_state_save(fpg_state *state)
{
    char *to = state->copy;
    for (int32_t i = 0; i < state->num_entries; to += size_of(&state->entries[i++]))
        memcpy(to, state->entries[i].data, size_of(&state->entries[i]));
    return (size_t)(to - state->copy);
}

void fpg_state_restore(fpg_state *state)
{
    const char *from = state->copy;
    for (int32_t i = 0; i < state->num_entries; from += size_of(&state->entries[i++]))
        memcpy(state->entries[i].data, from, size_of(&state->entries[i]));
}
