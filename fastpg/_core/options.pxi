# options.pxi - options and statistics, as fastpg.h lists them.

class Option(typing.NamedTuple):
    kind: str
    initial: object
    range: str
    words: tuple
    ends: tuple  # of the range: low, high, whether each lies in it


KINDS = {FPG_INTEGER: "integer", FPG_REAL: "real", FPG_FLAG: "flag", FPG_CHOICE: "choice"}


cdef dict _options(const fpg_field *fields, int32_t count):
    options = {}
    for i in range(count):
        kind, initial, interval = KINDS[fields[i].kind], fields[i].initial, fields[i].range.decode()
        words = tuple(interval.split()) if kind == "choice" else ()
        if kind != "real":
            initial = words[<int>initial] if words else bool(initial) if kind == "flag" else int(initial)
        ends = ()
        if interval and not words:
            low, high = [float(end) for end in interval.strip("[]()").split(",")]
            ends = low, high, interval.startswith("["), interval.endswith("]")
        options[fields[i].name.decode()] = Option(kind, initial, "" if words else interval, words, ends)
    return options


cdef object _fill(void *target, const fpg_field *fields, int32_t count, dict options, dict settings):
    """Writes settings to a struct, and what an option is at first where there is none."""
    cdef char *place
    if not settings.keys() <= options.keys():
        raise TypeError(f"there is no option {', '.join(sorted(set(settings) - set(options)))}")
    for i, (name, option) in enumerate(options.items()):
        value, place = settings.get(name, option.initial), <char *>target + fields[<int>i].offset
        if option.kind == "real":
            (<double *>place)[0] = value
        elif option.kind == "integer":
            (<int64_t *>place)[0] = value
        elif option.kind == "flag":
            (<int32_t *>place)[0] = bool(value)
        else:
            if value not in option.words:
                raise ValueError(f"{name} must be one of {', '.join(option.words)}, got {value!r}")
            (<int32_t *>place)[0] = option.words.index(value)
        is_initial = value == option.initial or (value != value and option.initial != option.initial)
        if option.ends and not is_initial and not _lies_in(value, option.ends):
            raise ValueError(f"{name} must lie in {option.range}, got {value}")


cdef bint _lies_in(double value, tuple ends):
    cdef double low = ends[0], high = ends[1]
    return (low < value or (ends[2] and low == value)) and (value < high or (ends[3] and value == high))


cdef const fpg_field *COLLECT_FIELDS
cdef const fpg_field *TRAIN_FIELDS
cdef const fpg_field *STATISTICS_FIELDS
cdef int32_t NUM_COLLECT_FIELDS = fpg_collect_fields(&COLLECT_FIELDS)
cdef int32_t NUM_TRAIN_FIELDS = fpg_train_fields(&TRAIN_FIELDS)
cdef int32_t NUM_STATISTICS_FIELDS = fpg_statistics_fields(&STATISTICS_FIELDS)
COLLECT_OPTIONS = _options(COLLECT_FIELDS, NUM_COLLECT_FIELDS)
OPTIONS = _options(TRAIN_FIELDS, NUM_TRAIN_FIELDS)
STATS_DTYPE = numpy.dtype({
    "names": [STATISTICS_FIELDS[i].name.decode() for i in range(NUM_STATISTICS_FIELDS)],
    "formats": ["i8" if STATISTICS_FIELDS[i].kind == FPG_INTEGER else "f8" for i in range(NUM_STATISTICS_FIELDS)],
    "offsets": [STATISTICS_FIELDS[i].offset for i in range(NUM_STATISTICS_FIELDS)],
    "itemsize": sizeof(fpg_stats),
})
