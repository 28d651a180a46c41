# for_tests.pxi - what only tests call; but for vecmath, which fastpg.acted calls as well.

def select_isa(str name):
    """Changes the kernels for whatever is made from now on."""
    encoded = name.encode()
    cdef const char *problem = fpg_select_isa(encoded)
    if problem != NULL:
        raise ValueError(f"{name}: {problem.decode()}")


def philox(const uint32_t[::1] counter, const uint32_t[::1] key):
    """The four words of one Philox4x32-10 block."""
    _require(counter.shape[0] == 4 and key.shape[0] == 2, "counter must have 4 words and key 2")
    result = numpy.empty(4, numpy.uint32)
    cdef uint32_t[::1] out = result
    fpg_philox(&counter[0], &key[0], &out[0])
    return result


def vecmath(str function, x):
    """function(x) with the kernels' own vector code; x is a 1-D float32 or float64 array."""
    cdef const float[::1] x4
    cdef const double[::1] x8
    cdef float[::1] y4
    cdef double[::1] y8
    cdef bint known
    result = numpy.empty_like(x)
    name = function.encode()
    if x.dtype == numpy.float32:
        x4, y4 = x, result
        known = fpg_vecmath_float(name, x4.shape[0], &x4[0], &y4[0])
    else:
        x8, y8 = x, result
        known = fpg_vecmath_double(name, x8.shape[0], &x8[0], &y8[0])
    _require(known, f"no function is called {function!r}")
    return result
