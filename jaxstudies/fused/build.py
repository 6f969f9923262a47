"""Compilers: a kernel's source made into what XLA can call."""

import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import jax

from jaxstudies import compilation_cache
from jaxstudies.fused.kernel import Kernel, cpu_source, cuda_source, launcher_source

CXX = ("c++", "g++", "clang++")
"""Compilers of C++ that are looked for, behind $CXX."""
CXX_FLAGS = "-O3 -std=c++17 -shared -fPIC -x c++ -ffp-contract=fast -fno-math-errno -fno-trapping-math -fwrapv -w"
# Divisions and square roots within 2 units in the last place: the exact ones branch, and branches keep threads waiting.
CUDA_FLAGS = "--std=c++17 --prec-div=false --prec-sqrt=false"


class NoCompiler(Exception):
    """No compiler is found, or it fails."""


@functools.cache
def compiler() -> tuple[str, ...]:
    """Return the command that compiles C++ here: $CXX, the system's, or that of the package ziglang.

    Raises:
        NoCompiler: There is none.
    """
    named = os.environ.get("CXX", "").split()
    if named and shutil.which(named[0]):
        return tuple(named)
    for name in CXX:
        if path := shutil.which(name):
            return (path,)
    if importlib.util.find_spec("ziglang"):
        return sys.executable, "-m", "ziglang", "cc"
    raise NoCompiler("no C++ compiler is found")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise NoCompiler(f"{command[0]} cannot be run ({error.strerror})") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise NoCompiler(f"{command[0]} fails: {errors[0] if errors else f'status {done.returncode}'}")


def compile_cpp(source: str, directory: Path) -> Path:
    """Compile C++ into a shared library in a directory.

    Raises:
        NoCompiler: There is none, or it fails.
    """
    text, library = directory / "kernel.cc", directory / "kernel.so"
    text.write_text(source)
    native = "-mcpu=native" if "ziglang" in compiler() else "-march=native"
    paths = ["-I", jax.ffi.include_dir(), str(text), "-o", str(library)]
    _run([*compiler(), *CXX_FLAGS.split(), native, *paths, *(["-ldl"] if sys.platform == "linux" else [])])
    return library


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """Return CUDA's compiler as a library, as the packages that JAX needs on cards have it, or None."""
    found: list[str] = []
    for package in ("nvidia.cu13", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for place in spec.submodule_search_locations or () if spec else ():
            found += sorted(str(path) for path in Path(place, "lib").glob("libnvrtc.so*"))
    for name in (*found, "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def check_cuda() -> None:
    """Raise NoCompiler if neither NVRTC nor nvcc is found."""
    if nvrtc() is None and not shutil.which("nvcc"):
        raise NoCompiler("neither NVRTC nor nvcc is found")


def compile_cuda(source: str, architecture: str, directory: Path) -> bytes:
    """Compile a kernel for a card's architecture, such as `sm_90`; return machine code.

    Raises:
        NoCompiler: Neither NVRTC nor nvcc is found, or it fails.
    """
    if (library := nvrtc()) is not None:
        return _compile_with_nvrtc(library, source, architecture)
    check_cuda()
    text, image = directory / "kernel.cu", directory / "kernel.cubin"
    text.write_text(source)
    _run(["nvcc", "-cubin", f"-arch={architecture}", "-w", *CUDA_FLAGS.split(), str(text), "-o", str(image)])
    return image.read_bytes()


def _compile_with_nvrtc(library: ctypes.CDLL, source: str, architecture: str) -> bytes:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = [option.encode() for option in (f"--gpu-architecture={architecture}", *CUDA_FLAGS.split())]
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    kind = "ProgramLog" if failed else "CUBIN"
    getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{kind}")(program, content)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        errors = [line for line in content.value.decode(errors="replace").splitlines() if "error" in line]
        raise NoCompiler(f"NVRTC fails: {errors[0] if errors else failed}")
    return content.raw


def architecture() -> str:
    """Return the architecture of the card that JAX uses, such as `sm_90`."""
    return "sm_" + jax.devices()[0].compute_capability.replace(".", "")  # type: ignore


def register(kernel: Kernel, num_inputs: int, num_outputs: int, platform: str) -> str:
    """Compile a kernel, let XLA know it and return its name there; what is known already is not compiled again.

    Raises:
        NoCompiler: There is none for the platform, or it fails.
    """
    target = architecture() if platform == "cuda" else platform
    sources = [cpu_source(kernel)]
    if platform == "cuda":
        sources = [CUDA_FLAGS, cuda_source(kernel), launcher_source(num_inputs, num_outputs, b"")]
    made_from = "\n".join([target, *compiler(), CXX_FLAGS, *sources])
    name = "jaxstudies_" + hashlib.sha256(made_from.encode()).hexdigest()[:32]

    def make(directory: Path) -> Path:
        source = cpu_source(kernel)
        if platform == "cuda":
            image = compile_cuda(cuda_source(kernel), target, directory)
            source = launcher_source(num_inputs, num_outputs, image)
        return compile_cpp(source, directory)

    with _LOADING.setdefault(name, threading.Lock()):  # of threads that compile ahead, two may come with one kernel
        if name not in _LOADED:
            library, where = _load(name, make), "CUDA" if platform == "cuda" else "cpu"
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library.run), platform=where)
            _LOADED[name] = library
    return name


def _load(name: str, make: Callable[[Path], Path]) -> ctypes.CDLL:
    try:
        return compilation_cache.kernel(name, make, lambda path: ctypes.CDLL(str(path)))
    except OSError as error:  # the disk is full, say, or nothing there may be run
        raise NoCompiler(f"a kernel cannot be kept in {tempfile.gettempdir()} ({error.strerror or error})") from error


_LOADED: dict[str, ctypes.CDLL] = {}
_LOADING: dict[str, threading.Lock] = {}
