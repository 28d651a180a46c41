# normalizer.pxi - running statistics of observations, outside of an agent.

cdef class Normalizer:
    cdef fpg_normalizer z

    def __cinit__(self, int32_t size):
        _require(size >= 1, f"size must be at least 1, got {size}")
        if not fpg_normalizer_init(&self.z, size):
            raise MemoryError("no memory for a normaliser")

    def __dealloc__(self):
        fpg_normalizer_free(&self.z)

    @property
    def count(self):
        return self.z.count

    def add(self, int64_t count, const double[::1] sums, const double[::1] squares):
        _require(count >= 1 and sums.shape[0] == squares.shape[0] == self.z.size, "add() needs sums of some rows")
        fpg_normalizer_add(&self.z, count, &sums[0], &squares[0])

    def scale(self):
        return self._row(self.z.shift), self._row(self.z.std)

    def fold(self, Network net, const float[::1] theta, float[::1] out):
        cdef int32_t outputs = net.net.hidden[0] if net.net.num_hidden else net.net.num_outputs
        _check_theta(net, theta)
        _check_theta(net, out)
        _require(net.net.num_inputs == self.z.size and not net.obs_categories, "the network reads other observations")
        fpg_normalizer_fold(&self.z, outputs, net.num_parameters, &theta[0], &out[0])

    def state(self):
        cdef double[::1] view
        statistics = numpy.empty(4 * self.z.size)
        view = statistics
        memcpy(&view[0], self.z.mean, view.nbytes)
        return self.z.count, statistics

    def set_state(self, int64_t count, const double[::1] statistics):
        _require(count >= 0 and statistics.shape[0] == 4 * self.z.size, f"statistics must be {4 * self.z.size} numbers")
        self.z.count = count
        memcpy(self.z.mean, &statistics[0], statistics.nbytes)

    cdef _row(self, const double *numbers):
        result = numpy.empty(self.z.size)
        cdef double[::1] view = result
        memcpy(&view[0], numbers, view.nbytes)
        return result
