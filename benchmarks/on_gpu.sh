#!/usr/bin/env bash
# All that only a GPU can tell, in one command of at most nine minutes, without a network:
#
#     bash benchmarks/on_gpu.sh                     # to $OUT, or .benchmarks/on_gpu
#     STAGES="ceilings tests" bash benchmarks/on_gpu.sh
#     ON_GPU_DRY=1 bash benchmarks/on_gpu.sh        # tiny cases on a CPU, to try the script
#
# The most important stages come first. Each has a limit of its own and writes a row as soon as it
# is measured, so that a stage that fails or is late loses nothing else. docs/gpu.md says more.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
export OUT=${OUT:-$PWD/.benchmarks/on_gpu} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export TORCHINDUCTOR_COMPILE_THREADS=${TORCHINDUCTOR_COMPILE_THREADS:-12}
export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/on_gpu_triton}
PYTHON=${PYTHON:-python3}
BUDGET=${BUDGET:-520} # seconds in all; a stage that has less than 20 left is not begun
STAGES=${STAGES:-ceilings tests replay attention encode host layers train tune counters}
START=$SECONDS FAILED=0
mkdir -p "$OUT"

stage() { # stage NAME LIMIT COMMAND...
    local name=$1 limit=$2 began=$SECONDS left status
    left=$((BUDGET - (SECONDS - START)))
    shift 2
    case " $STAGES " in *" $name "*) ;; *) return ;; esac
    if [ "$left" -lt 20 ]; then
        echo "== $name: no time left" | tee -a "$OUT/summary.txt"
        return
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    echo "== $name (at most $limit s)" | tee -a "$OUT/log.txt"
    # INT first, so that Python ends in its own way; KILL if it does not.
    ON_GPU_LIMIT=$((limit - 8)) timeout --signal=INT --kill-after=8 "$limit" "$@" 2>&1 |
        tee -a "$OUT/log.txt" | tail -n "${TAIL:-60}"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || FAILED=1
    echo "== $name: status $status, $((SECONDS - began)) s" | tee -a "$OUT/summary.txt"
}

stage ceilings 40 "$PYTHON" benchmarks/gpu_ceilings.py
# Side by side, for nearly all of the time is Triton's compiler; the others find its results.
WORKERS=$("$PYTHON" -c 'import xdist' 2> /dev/null && echo "--numprocesses 10 --dist worksteal")
# shellcheck disable=SC2086
stage tests 150 "$PYTHON" -m pytest tests/kernels/test_on_gpu.py tests/zoo/images/test_prepare_together.py -q $WORKERS \
    -p no:cacheprovider --timeout=120 --tb=short --durations=8 --junit-xml="$OUT/tests.xml"
stage replay 30 "$PYTHON" benchmarks/gpu_replay.py
stage attention 110 "$PYTHON" benchmarks/gpu_attention.py
stage encode 120 "$PYTHON" benchmarks/gpu_encode.py
stage host 30 "$PYTHON" benchmarks/gpu_host.py
stage layers 25 "$PYTHON" benchmarks/gpu_layers.py
stage train 30 "$PYTHON" benchmarks/gpu_train.py
stage tune 70 "$PYTHON" benchmarks/gpu_tune.py
if command -v ncu > /dev/null; then
    # Clocks are left as they are. Attention forward and backward, then the first layers of a pass.
    METRICS=gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed
    METRICS+=,sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active,sm__inst_executed.sum
    METRICS+=,smsp__issue_active.avg.pct_of_peak_sustained_active
    METRICS+=,sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active
    METRICS+=,sm__warps_active.avg.pct_of_peak_sustained_active,dram__bytes.sum,lts__t_bytes.sum
    METRICS+=,launch__registers_per_thread,launch__occupancy_limit_registers
    METRICS+=,launch__occupancy_limit_shared_mem
    stage counters 60 ncu --clock-control none --target-processes all --launch-count 10 \
        --kernel-name 'regex:^(forward|query_gradient|key_gradient|norm_qkv|residual_mlp|pack_tokens)$' \
        --metrics "$METRICS" --csv --log-file "$OUT/counters.csv" "$PYTHON" benchmarks/gpu_once.py
fi
echo
cat "$OUT/summary.txt"
"$PYTHON" benchmarks/gpu_report.py "$OUT"
# At most eight files: the small ones are joined.
(cd "$OUT" && for small in ceilings.json replay.csv host.csv layers.csv train.csv; do
    [ -f $small ] && { echo "# $small"; cat $small; } >> small.txt && rm $small
done)
exit "$FAILED"
