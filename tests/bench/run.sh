#!/usr/bin/env bash
# Kafka to committed Delta table on one pinned core, against the floor on the same core: drain the same records and do
# SHA-256 and zstd -1 of their bytes. What ships is what is measured: redaction, leaves, raw payload, copies.
#
#   tests/bench/run.sh BINARY KAFKA_BENCH STAGES [RECORDS] [RUNS]
#
# Prints one table: MB/s of raw JSON, events/s, ratio to the floor, stored ÷ raw, peak resident memory; medians over
# RUNS, ours and floor in turn, and the spread of both; then the share of each stage, and with SPARK=1 Spark on the same topic. Starts a real Kafka (tests/peers/kafka.sh) if none answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$1 bench=$2 stages=$3 records=${4:-100000} runs=${5:-5}
port=${KAFKA_PORT:-29092} brokers=127.0.0.1:${KAFKA_PORT:-29092}
core=$(($(nproc) - 1))
work=$(mktemp -d)
started=0
trap 'rm -rf "$work"; [ $started = 0 ] || tests/peers/kafka.sh down' EXIT
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { tests/peers/kafka.sh up; started=1; }
median() { sort -n | awk '{v[NR]=$1} END{print v[int((NR+1)/2)]}'; }
timed() { # MILLISECONDS to the file $1, PEAK KiB to $2
  local ms=$1 peak=$2 start
  shift 2
  start=$(date +%s%N)
  python3 - "$peak" taskset -c "$core" "$@" <<'P'
import resource, subprocess, sys
subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
open(sys.argv[1], "a").write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\n")
P
  echo $((($(date +%s%N) - start) / 1000000)) >>"$ms"
}
printf '%-9s %8s %8s %10s %8s %11s %9s   %s\n' shape records "MB/s" events/s "÷ floor" "stored÷raw" "peak MiB" "spread ms (ours; floor)"
for shape in okta cerbos toolhive tiny; do
  adapter=$shape
  [ $shape = tiny ] && adapter=toolhive
  topic=bench.$shape.$(date +%s%N)
  [ $shape = okta ] && okta=$topic
  tests/peers/kafka.sh create "$topic" 1
  read -r count raw < <("$bench" publish "$brokers" "$topic" $shape "$records")
  rm -f "$work"/*.txt
  for run in $(seq "$runs"); do
    cat >"$work/config.toml" <<T
environment = "development"
[lake]
uri = "$work/$shape-$run"
[kafka]
brokers = "$brokers"
group = "$topic-$run"
[[source]]
topic = "$topic"
adapter = "$adapter"
T
    timed "$work/ours.txt" "$work/peak.txt" "$binary" ingest --config "$work/config.toml" --once
    timed "$work/floor.txt" /dev/null "$bench" floor "$brokers" "$topic"
    stored=$(find "$work/$shape-$run/events" -name '*.parquet' -printf '%s\n' | awk '{s+=$1} END{print s}')
    rm -rf "$work/$shape-$run" "$work/$shape-$run.key"
  done
  awk -v shape=$shape -v n="$count" -v raw="$raw" -v ours="$(median <"$work/ours.txt")" -v floor="$(median <"$work/floor.txt")" \
    -v stored="$stored" -v peak="$(median <"$work/peak.txt")" \
    -v spread="$(sort -n "$work/ours.txt" | tr '\n' ' '); $(sort -n "$work/floor.txt" | tr '\n' ' ')" 'BEGIN {
      printf "%-9s %8d %8.1f %10.0f %8.2f %10.1f%% %9d   %s\n", shape, n, raw/1e3/ours, n*1000/ours, floor/ours, 100*stored/raw, peak/1024, spread }'
done

echo
echo "where the time goes, shape okta: each stage on its own; drain is reading from Kafka alone"
"$bench" write okta "$records" >"$work/okta.jsonl"
rm -f "$work/drain.txt"
for run in $(seq "$runs"); do timed "$work/drain.txt" /dev/null "$bench" drain "$brokers" "$okta"; done
awk -v ms="$(median <"$work/drain.txt")" -v n="$records" 'BEGIN { printf "  %-18s %7.2f µs/record\n", "drain", ms * 1000 / n }'
taskset -c "$core" "$stages" okta "$work/okta.jsonl"
if [ "${SPARK:-0}" = 1 ]; then
  echo
  echo "the same topic through Spark Structured Streaming into Delta, on the same core (tests/bench/spark/run.sh)"
  RUNS=$runs WARMUPS=${WARMUPS:-3} tests/bench/spark/run.sh "$brokers" "$okta" "$core"
fi
