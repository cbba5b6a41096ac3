#!/usr/bin/env bash
# Everything there is to know about the CUDA backend on the GPU at hand, in under ten minutes: builds for it, runs the tests,
# compute-sanitizer and the benchmark. Installs nothing. Needs nvcc, g++, Python with torch, numpy and pytest; cmake, ninja and
# pybind11 where they are there, else plain compiler calls and the pybind11 that torch ships.
#
#   PYTHON=python3 OUT=out/gpu_check BIT_TASKS=4000 benchmarks/gpu_check.sh
set -uo pipefail
cd "$(dirname "$0")/.."
self="$PWD/benchmarks/gpu_check.sh"
PYTHON=${PYTHON:-python3}
OUT=${OUT:-out/gpu_check}
BIT_TASKS=${BIT_TASKS:-4000}
export PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
mkdir -p "$OUT"
report="$OUT/report.txt"
: >"$report"
failed=0

# step NAME SECONDS COMMAND...: its output goes to the report; a failure is counted, the rest goes on.
step() {
  local name=$1 limit=$2 began=$SECONDS status
  shift 2
  echo "== $name" | tee -a "$report"
  timeout "$limit" "$@" >>"$report" 2>&1
  status=$?
  [ $status -eq 0 ] || { failed=1; echo "   failed with $status (see $report)"; }
  echo "   $((SECONDS - began)) s" | tee -a "$report"
  return $status
}

# Without cmake: every file by itself, sixteen at a time.
plain_build() {
  local include flags objects="$OUT/objects" suffix ops=()
  include="$("$PYTHON" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "include"))')"
  include="-I$include -I$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')"
  suffix="$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
  flags="-std=c++17 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fPIC -fvisibility=hidden -Icsrc"
  mkdir -p "$objects"
  {
    for source in csrc/cpu/*.cpp csrc/ops/*/*cpu.cpp csrc/chain/*cpu.cpp; do
      for level in 2 3 4; do
        wide=""
        [ $level -eq 4 ] && wide="-mprefer-vector-width=512"
        echo "g++ $flags -fno-exceptions -fno-rtti -DPYD_ISA=v$level -march=x86-64-v$level $wide -c $source" \
          "-o $objects/v$level-${source//\//-}.o"
      done
    done
    for source in csrc/core/*.cpp csrc/ops/*/plan.cpp csrc/ops/*/record.cpp csrc/chain/record.cpp csrc/chain/steps.cpp csrc/cuda/record.cpp csrc/*.cpp; do
      echo "g++ $flags $include -c $source -o $objects/${source//\//-}.o"
    done
  } | xargs -P "${JOBS:-16}" -I{} sh -c "{}" || return 1
  g++ -shared -pthread "$objects"/*.o -o "pydegrade/_C$suffix" || return 1
  for source in csrc/ops/*/*kernel.cu; do ops+=("-include=$source"); done
  nvcc -std=c++17 -O3 --fmad=false -cudart static -Xcompiler -fPIC,-fvisibility=hidden,-ffp-contract=off \
    -gencode="arch=compute_$arch,code=sm_$arch" -Icsrc "${ops[@]}" -shared csrc/cuda/kernels.cu -o pydegrade/_cuda.so
}

build() {
  if "$PYTHON" -c 'import pybind11, setuptools' && command -v cmake ninja >/dev/null; then
    PYDEGRADE_CUDA=1 PYDEGRADE_CUDA_ARCHITECTURES="$arch" "$PYTHON" setup.py -q build_ext --inplace && return 0
    echo "setup.py failed; compiling file by file"
  fi
  plain_build
}

sanitize() {
  local said
  said="$(compute-sanitizer --tool "$1" --error-exitcode 9 "$PYTHON" -m benchmarks.gpu_check --sanitize 2>&1)"
  local status=$?
  echo "$said" | tail -n 40
  # A tool that does not start reports no errors either.
  [ $status -eq 0 ] && grep -q "ERROR SUMMARY: 0 errors" <<<"$said" && grep -q "all cases equal the CPU's" <<<"$said"
}

# For steps under `timeout`, which runs programs, not functions.
if [ "${1:-}" = "--call" ]; then
  shift
  "$@"
  exit
fi

# The GPU.
nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader | tee -a "$report" || {
  echo "gpu_check.sh: nvidia-smi finds no GPU" >&2
  exit 2
}
arch="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)"
export arch OUT PYTHON

step "build for sm_$arch" 150 "$self" --call build || exit 1
nvcc -std=c++17 -O3 -gencode="arch=compute_$arch,code=sm_$arch" -cudart static -Xcompiler -fPIC -shared \
  benchmarks/ceilings.cu -o "$OUT/ceilings.so" || failed=1
step "bits of every kernel, graphs, streams" 50 "$PYTHON" -m pytest -p no:cacheprovider tests/test_cuda_device.py
workers=()
"$PYTHON" -c 'import xdist' 2>/dev/null && workers=(-n 8)
step "the ordinary tests on the GPU" 90 "$PYTHON" -m pytest -p no:cacheprovider "${workers[@]}" -k "cuda" \
  tests/test_engine.py tests/test_blur.py tests/test_noise.py tests/test_resize.py tests/test_jpeg.py
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool" 30 "$self" --call sanitize "$tool"
  done
else
  echo "== compute-sanitizer is not installed" | tee -a "$report"
fi
step "benchmark" 190 "$PYTHON" -m benchmarks.gpu_check --bit-tasks "$BIT_TASKS" --ceilings "$OUT/ceilings.so"

sed -n '/^== benchmark/,$p' "$report"
[ $failed -eq 0 ] && echo "All steps passed." || echo "Some steps failed: $report"
exit $failed
