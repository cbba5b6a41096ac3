#!/usr/bin/env bash
# The methods at sizes for one GPU, in parts of under ten minutes each: training, measuring, one table at the end.
#
#   DATA=/data/sr OUT=out/gpu_science benchmarks/gpu_science.sh                # all parts, then the table
#   benchmarks/gpu_science.sh eco                                                # one of: edsr eco dasr mzsr tgsr table
#   SMALL=1 benchmarks/gpu_science.sh                                            # a rehearsal on a CPU: sizes that show nothing
#
# DATA holds T91, BSD20, Set5 and Set14. A part that is stopped after MINUTES goes on when it is given again; a finished one
# costs seconds. ECO needs three or four calls on an H100. Estimates there, from the sizes: edsr 2 min, eco 35, dasr 20, mzsr
# 10, tgsr 20; none of them but edsr has been run on a GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
DATA=${DATA:?set DATA to the folder that holds T91, BSD20, Set5 and Set14}
OUT=${OUT:-out/gpu_science}
MINUTES=${MINUTES:-9}
SMALL=${SMALL:-}
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
mkdir -p "$OUT"
waiting=0

# part NAME COMMAND...: ended after MINUTES by an interrupt, upon which a run keeps its state.
part() {
  local name=$1 began=$SECONDS status
  shift
  timeout --signal=INT --kill-after=60 "${MINUTES}m" "$PYTHON" -m "$@" >>"$OUT/$name.log" 2>&1
  status=$?
  if [ $status -eq 0 ]; then
    echo "$name: done, $((SECONDS - began)) s"
  else
    waiting=1
    echo "$name: ended with $status after $((SECONDS - began)) s; give it again, or see $OUT/$name.log"
  fi
}

if [ -z "$SMALL" ]; then
  seeds=4
  common=(--set run.device=cuda --set train.precision=auto --set checkpoint.every_steps=1000)
  body=(--set net.num_features=64 --set net.num_blocks=16)
  edsr_steps=8000 eco_steps=10000 teacher_steps=20000 dasr_start=4000 dasr_steps=10000
  mzsr_pretrain=4000 mzsr_meta=4000 zssr_steps=1000 tgsr_pretrain=10000 tgsr_steps=2000 crops=960 tgsr_crops=24
  mzsr=(--set net.num_features=64 --set net.num_layers=8 --set data.batch=32)
  tgsr=("${body[@]}" --conflict-tasks 100 --conflict-steps 1000 --set data.batch=16)
else
  seeds=1
  common=(--set run.device=cpu --set data.batch=2 --set checkpoint.every_steps=1000)
  body=(--set net.num_features=4 --set net.num_blocks=1)
  edsr_steps=2 eco_steps=2 teacher_steps=2 dasr_start=2 dasr_steps=2
  mzsr_pretrain=2 mzsr_meta=2 zssr_steps=10 tgsr_pretrain=2 tgsr_steps=2 crops=48 tgsr_crops=2
  mzsr=(--set net.num_features=4 --set net.num_layers=2 --set data.batch=4)
  tgsr=("${body[@]}" --conflict-tasks 2 --conflict-steps 2 --workers 1 --set method.grouping.tasks=10
        --set method.grouping.iterations=2 --set method.grouping.average=1 --set method.grouping.joint_steps=2
        --set method.grouping.batch=2 --set "method.grouping.shares=[0.5, 0.5]")
fi
photographs=(--train "$DATA/T91" --train "$DATA/BSD20")
sets=(--test "$DATA/Set5" --test "$DATA/Set14")

edsr() {
  part edsr pytrain fit configs/edsr_baseline_x2.toml --resume auto --set "run.out=$OUT/edsr" \
    --set "run.steps=$edsr_steps" --set "data.hr=[\"$DATA/T91\"]" --set schedule.type=cosine \
    --set optimizer.learning_rate=4e-4 "${common[@]}" "${body[@]}" \
    --set "evaluate.sets=[{name=\"set5\", hr=[\"$DATA/Set5\"]}, {name=\"set14\", hr=[\"$DATA/Set14\"]}]"
}

eco() {
  part eco benchmarks.demo_eco --out "$OUT/eco" "${photographs[@]}" "${sets[@]}" --steps $eco_steps \
    --teacher-steps $teacher_steps --seeds $seeds --rate 2e-4 --rate 4e-4 --set net.type=edsr \
    --set train.ema_decay=0.999 --set data.crop_px=96 --set data.batch=16 "${common[@]}" "${body[@]}"
}

dasr() {
  part dasr benchmarks.demo_dasr --out "$OUT/dasr" "${photographs[@]}" --test "$DATA/Set14" --start-steps $dasr_start \
    --steps $dasr_steps --seeds 1 --crops $crops --arm plain --arm dasr --arm oracle --set data.batch=16 \
    --set optimizer.learning_rate=4e-4 "${common[@]}" "${body[@]}"
}

mzsr() {
  part mzsr benchmarks.demo_mzsr --out "$OUT/mzsr" --train "$DATA/T91" "${sets[@]}" --tune "$DATA/BSD20" --seeds 1 \
    --pretrain $mzsr_pretrain --meta $mzsr_meta --zssr-steps $zssr_steps "${common[@]}" "${mzsr[@]}"
}

tgsr() {
  part tgsr benchmarks.demo_tgsr --out "$OUT/tgsr" --hr "$DATA/T91" --hr "$DATA/BSD20" --validation "$DATA/Set5" \
    --validation "$DATA/Set14" --pretrain-steps $tgsr_pretrain --steps $tgsr_steps --seeds 1 --crops $tgsr_crops \
    --set schedule.type=cosine --set schedule.floor=0 "${common[@]}" "${tgsr[@]}"
}

table() {
  "$PYTHON" -m benchmarks.doc_tables --show "$OUT" | tee "$OUT/table.txt"
  grep -h '"kind": "evaluate"' "$OUT/edsr/log.jsonl" 2>/dev/null | tail -n 1 | cut -c1-300
}

for name in "${@:-edsr eco dasr mzsr tgsr table}"; do
  for one in $name; do
    case $one in
      edsr | eco | dasr | mzsr | tgsr | table) "$one" ;;
      *)
        echo "gpu_science.sh: part must be one of edsr, eco, dasr, mzsr, tgsr, table, got $one" >&2
        exit 2
        ;;
    esac
  done
done
exit $waiting
