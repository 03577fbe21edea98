"""Builds the C++ core, csrc/, into the private extension module mnist_sgd._core.

Everything else about the distribution is in pyproject.toml. The build uses no system library
and no flag of the building machine's processor: the kernels choose themselves at run time. A
machine that only predicts and serves needs no core: MNIST_SGD_WITHOUT_EXTENSION=1 leaves it out,
and then no compiler is asked for.
"""

import os
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import setup
from setuptools.errors import BaseError, CompileError, PlatformError

NEEDED = (
    "mnist-sgd needs a C++17 compiler and Python's headers. Install them (Debian, Ubuntu: "
    "apt-get install g++ python3-dev; Fedora: dnf install gcc-c++ python3-devel; Alpine: "
    "apk add g++ python3-dev; macOS: xcode-select --install; Windows: Visual Studio Build Tools "
    "with C++) and run pip again. A machine that only predicts and serves needs none of it: set "
    "MNIST_SGD_WITHOUT_EXTENSION=1."
)


class BuildCore(build_ext):
    """pybind11's build_ext, with strict arithmetic and a plain sentence for a missing compiler."""

    def build_extensions(self) -> None:
        """Compile every extension.

        Raises:
            BaseError: no usable C++17 compiler was found, or csrc/ does not compile with it.
        """
        msvc = self.compiler.compiler_type == "msvc"
        strict = ["/fp:strict"] if msvc else ["-O3", "-ffp-contract=off", "-pthread"]
        for extension in self.extensions:
            extension.extra_compile_args += strict
            if not msvc:  # glibc before 2.34 has threads and pthread_atfork in another library
                extension.extra_link_args.append("-pthread")
        try:
            super().build_extensions()
        except (CompileError, PlatformError, OSError) as error:
            raise BaseError(f"building the C++ extension failed: {error}. {NEEDED}") from error


CORE = Pybind11Extension(
    "mnist_sgd._core",
    sorted(glob("csrc/*.cpp")),
    depends=sorted(glob("csrc/*.hpp")),
    include_dirs=["csrc"],
    cxx_std=17,
)
CORE.sources = [Path(source).as_posix() for source in CORE.sources]

WITHOUT = os.environ.get("MNIST_SGD_WITHOUT_EXTENSION") == "1"

setup(ext_modules=[] if WITHOUT else [CORE], cmdclass={"build_ext": BuildCore})
