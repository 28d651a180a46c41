"""What pyproject.toml cannot say: one kernel source compiled per instruction set, and the Cython extension.

FASTPG_SANITIZE=address,undefined builds with those sanitizers; see .ci/sanitize for how to run it.
"""

import os
import platform
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCES = [
    "dispatch",
    "memory",
    "parallel",
    "normalize",
    "learner",
    "workspace",
    "batch",
    "collect",
    "estimate",
    "returns",
    "train",
    "vector",
    "kernels_baseline",
]
X86_KERNELS = {
    "kernels_avx2": ["-mavx2", "-mfma"],
    "kernels_avx512": [
        "-mavx512f",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512bw",
        "-mfma",
        "-mprefer-vector-width=512",
    ],
}
# A change in any of them links the extension again, and a source distribution carries them all.
C_FILES = [os.path.join(folder, name) for folder, _, names in os.walk("csrc") for name in names]

# Never -ffast-math: it changes the floating-point mode of the whole process and breaks NaN checks.
# Contraction to fused multiply-add is asked for by name, since ISO mode turns it off in GCC.
# CPython's own flags bring -fwrapv, which keeps loops over int32_t from being vectorised.
CFLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-wrapv",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",
]
LINK_FLAGS: list[str] = []
if sys.platform == "win32":  # clang-cl understands GCC's flags behind /clang:
    CFLAGS = [f"/clang:{flag}" for flag in CFLAGS if flag != "-std=gnu11"]
else:
    LINK_FLAGS += ["-pthread", "-lm"]
if sanitizers := os.environ.get("FASTPG_SANITIZE"):
    CFLAGS += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g"]
    LINK_FLAGS += [f"-fsanitize={sanitizers}"]

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
MACROS: list[tuple[str, str | None]] = [("FPG_X86", None)] if IS_X86 else []
LIMITED_API = [("Py_LIMITED_API", "0x030b0000"), ("CYTHON_LIMITED_API", "1")]


class BuildPerInstructionSet(build_ext):
    """Compiles each kernels_*.c with its own flags and hands the objects to the extension's link."""

    def build_extension(self, ext: Extension) -> None:
        """Build the objects first, then the extension as usual."""
        flags = {name: [] for name in SOURCES} | (X86_KERNELS if IS_X86 else {})
        for name, isa_flags in flags.items():
            ext.extra_objects += self.compiler.compile(
                [f"csrc/{name}.c"],
                output_dir=self.build_temp,
                macros=MACROS,
                include_dirs=["csrc"],
                extra_postargs=CFLAGS + isa_flags,
                depends=C_FILES,
            )
        super().build_extension(ext)


class WithHeaders(build_py):
    """Puts the headers that fastpg.get_include() is about into the package."""

    def run(self) -> None:
        """Copy them beside the modules; a source tree has them in csrc/."""
        super().run()
        if not self.editable_mode:
            target = os.path.join(self.build_lib, "fastpg", "include")
            self.mkpath(target)
            for name in ("fastpg.h", "vecmath.h"):
                self.copy_file(os.path.join("csrc", name), target)


setup(
    ext_modules=[
        Extension(
            "fastpg._core",
            ["fastpg/_core.pyx"],
            include_dirs=["csrc"],
            depends=[*C_FILES, "fastpg/_arrays.pxi"],
            define_macros=MACROS + LIMITED_API,
            extra_compile_args=[flag for flag in CFLAGS if "-O3" not in flag] + ["-O2"],
            extra_link_args=LINK_FLAGS,
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildPerInstructionSet, "build_py": WithHeaders},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
