# system.pxi - the build, the instruction sets, the threads.

def version():
    return FPG_VERSION.decode()


def compiler():
    return COMPILER.decode()


cdef extern from *:
    """
    #if defined(__clang__)
    #define FPG_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FPG_COMPILER "gcc " __VERSION__
    #else
    #define FPG_COMPILER "unknown"
    #endif
    """
    const char *COMPILER "FPG_COMPILER"


cdef extern from *:
    """
    #include <stddef.h>
    #define FPG_PARAMS_OFFSET offsetof(fpg_environment, params)
    #define FPG_DATA_OFFSET offsetof(fpg_environment, data)
    """
    enum: FPG_PARAMS_OFFSET, FPG_DATA_OFFSET


def isa():
    return fpg_isa().decode()


def isas():
    names = []
    while fpg_isa_available(<int>len(names)) != NULL:
        names.append(fpg_isa_available(<int>len(names)).decode())
    return tuple(names)


def set_num_threads(int num_threads):
    _require(num_threads >= 1, f"set_num_threads(): num_threads must be at least 1, got {num_threads}")
    fpg_set_num_threads(num_threads)


def get_num_threads():
    return fpg_get_num_threads()


def _initialize():
    """Chooses the kernels and the number of threads, once, at import."""
    cdef const char *problem
    cdef const char *name = NULL
    wanted = os.environ.get("FASTPG_ISA")
    encoded = os.fsencode(wanted or "")
    if wanted:
        name = encoded
    problem = fpg_select_isa(name)
    if problem != NULL:
        shown = ascii(wanted[:60]).strip("'")
        raise ImportError(f"FASTPG_ISA={shown}: {problem.decode()}; available here: {', '.join(isas())}")
    threads = os.environ.get("FASTPG_NUM_THREADS")
    if not threads:
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        fpg_set_num_threads(len(cpus))
    elif threads.isdecimal() and len(threads) <= 9 and 1 <= int(threads) <= MAX_THREADS:
        fpg_set_num_threads(int(threads))
    else:
        raise ImportError(f"FASTPG_NUM_THREADS must be an integer from 1 to {MAX_THREADS}, got {threads[:60]!r}")


_initialize()


def _environment_names():
    names = []
    while fpg_environment_name(<int>len(names)) != NULL:
        names.append(fpg_environment_name(<int>len(names)).decode())
    return tuple(names)


ENV_NAMES = _environment_names()
