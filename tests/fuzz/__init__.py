"""Fuzzing of the public interface: valid calls, with one or two arguments made odd.

`calls` lists every public function with what a valid call of it is, `values` makes arguments odd, `judge` says
what may come of a call. `test_calls` runs a few calls of each, the same every time; `python -m tests.fuzz
--seconds 600` as many as fit, others every time.
"""
