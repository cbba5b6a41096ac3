#!/usr/bin/env bash
# Everything there is to know about the CUDA backend on the GPU at hand, with limits of less than ten minutes: builds for it, compares bits, runs
# the tests and compute-sanitizer beside each other, then measures, alone, kernels, training and TGSR's scores. Installs
# nothing. Needs nvcc, g++, Python 3.11 or newer with the packages of pyproject.toml and pytest; cmake, ninja and pybind11 where
# they are there, else plain compiler calls and the pybind11 that torch ships.
#
#   PYTHON=python3 OUT=out/gpu_check BIT_TASKS=4000 benchmarks/gpu_check.sh
#   benchmarks/gpu_check.sh --rehearse     every part but build and profiler at tiny size on the CPU, without a GPU
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
patience=1 # times the limits; a rehearsal is on a slow machine

# step NAME SECONDS COMMAND...: its output goes to the report; a failure is counted, the rest goes on.
step() {
  local name=$1 limit=$(($2 * patience)) began=$SECONDS status
  shift 2
  echo "== $name" | tee -a "$report"
  timeout "$limit" "$@" >>"$report" 2>&1
  status=$?
  [ $status -eq 0 ] || { failed=1; echo "   failed with $status (see $report)"; }
  echo "   $((SECONDS - began)) s" | tee -a "$report"
  return $status
}

# beside NAME SECONDS COMMAND...: the same in the background; `join` waits for all and reports them in their order.
beside=()
beside() {
  local name=$1 limit=$(($2 * patience)) slug=${1//[^a-zA-Z0-9]/-}
  shift 2
  beside+=("$name")
  ( began=$SECONDS; timeout "$limit" "$@" >"$OUT/$slug.txt" 2>&1; echo "$? $((SECONDS - began))" >"$OUT/$slug.end" ) &
}

join() {
  local name slug status seconds
  wait
  for name in "${beside[@]}"; do
    slug=${name//[^a-zA-Z0-9]/-}
    read -r status seconds <"$OUT/$slug.end"
    echo "== $name" | tee -a "$report"
    cat "$OUT/$slug.txt" >>"$report"
    [ "$status" -eq 0 ] || { failed=1; echo "   failed with $status (see $OUT/$slug.txt)" | tee -a "$report"; }
    echo "   $seconds s" | tee -a "$report"
  done
  beside=()
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

rehearse=()
chosen=(-k cuda)
if [ "${1:-}" = "--rehearse" ]; then
  rehearse=(--rehearse)
  patience=10
  chosen=(-k cpu --collect-only)
  arch=none
else
  # The GPU.
  nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader | tee -a "$report" || {
    echo "gpu_check.sh: nvidia-smi finds no GPU; --rehearse runs without one" >&2
    exit 2
  }
  arch="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)"
fi
export arch OUT PYTHON

ceilings=()
if [ ${#rehearse[@]} -eq 0 ]; then
  step "build for sm_$arch" 90 "$self" --call build || exit 1
  timeout 60 nvcc -std=c++17 -O3 -gencode="arch=compute_$arch,code=sm_$arch" -cudart static -Xcompiler -fPIC -shared \
    benchmarks/ceilings.cu -o "$OUT/ceilings.so" && ceilings=(--ceilings "$OUT/ceilings.so") || failed=1
fi

# Right: beside each other, nothing here is timed.
beside "bits of every preset" 100 "$PYTHON" -m benchmarks.gpu_check --bits --bit-tasks "$BIT_TASKS" "${rehearse[@]}"
beside "bits of every kernel, graphs, streams" 100 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_cuda_device.py
beside "the ordinary tests on the GPU" 120 "$PYTHON" -m pytest -q -p no:cacheprovider "${chosen[@]}" \
  tests/test_engine.py tests/test_blur.py tests/test_noise.py tests/test_resize.py tests/test_jpeg.py
if [ ${#rehearse[@]} -gt 0 ]; then
  beside "the cases of compute-sanitizer" 100 "$PYTHON" -m benchmarks.gpu_check --sanitize --rehearse
elif command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    beside "compute-sanitizer $tool" 120 "$self" --call sanitize "$tool"
  done
else
  echo "== compute-sanitizer is not installed" | tee -a "$report"
fi
join

# Fast: alone.
tables=$(wc -l <"$report")
step "ops and chains" 100 "$PYTHON" -m benchmarks.gpu_check --times "${ceilings[@]}" "${rehearse[@]}"
step "training and scoring" 150 "$PYTHON" -m benchmarks.gpu_train --seconds "${TRAIN_SECONDS:-110}" "${rehearse[@]}"
if [ ${#rehearse[@]} -eq 0 ] && command -v ncu >/dev/null; then
  metrics="$("$PYTHON" -c 'from benchmarks.gpu_check import NCU_METRICS; print(",".join(NCU_METRICS))')"
  timeout 40 ncu --csv --page raw --metrics "$metrics" --profile-from-start off --log-file "$OUT/ncu.csv" \
    "$PYTHON" -m benchmarks.gpu_check --profile >>"$report" 2>&1
  step "Nsight Compute" 20 "$PYTHON" -m benchmarks.gpu_check --ncu "$OUT/ncu.csv"
else
  echo "== ncu is not installed, or this is a rehearsal: no table of kernels" | tee -a "$report"
fi

sed -n "$tables,\$p" "$report"
sed -n '/^| preset | tasks/,/^$/p' "$report"
echo "$SECONDS s"
[ $failed -eq 0 ] && echo "All steps passed." || echo "Some steps failed: $report"
exit $failed
