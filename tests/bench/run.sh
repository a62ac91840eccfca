#!/usr/bin/env bash
# Kafka to committed Delta table on one pinned core, against the floor on the same core: drain the same records and do
# SHA-256 and zstd -1 of their bytes. What ships is what is measured: redaction, leaves, raw payload, copies.
#
#   tests/bench/run.sh BINARY KAFKA_BENCH STAGES [RECORDS] [RUNS]
#
# Prints one table: MB/s of raw JSON, events/s, ratio to the floor, stored ÷ raw, peak resident memory; medians over
# RUNS, ours and floor in turn, the spread of both, and which bars are met; then the share of each stage, and with SPARK=1
# Spark on the same topic. Starts a real Kafka (tests/peers/kafka.sh) if none answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$1 bench=$2 stages=$3 records=${4:-100000} runs=${5:-5}
port=${KAFKA_PORT:-29092} brokers=127.0.0.1:${KAFKA_PORT:-29092}
core=$(($(nproc) - 1))
# The bars: share of the floor, MB/s of the first shape, stored ÷ raw in percent, MiB.
bars="0.4 60 15 512"
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
adapter_of() { [ "$1" = tiny ] && echo toolhive || echo "$1"; }
printf '%-9s %8s %8s %10s %8s %11s %9s   %s\n' shape records "MB/s" events/s "÷ floor" "stored÷raw" "peak MiB" "spread ms (ours; floor)"
declare -A topics
for shape in okta cerbos toolhive tiny; do
  adapter=$(adapter_of $shape)
  topic=bench.$shape.$(date +%s%N)
  topics[$shape]=$topic
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
  awk -v bars="$bars" -v shape=$shape -v n="$count" -v raw="$raw" -v ours="$(median <"$work/ours.txt")" -v floor="$(median <"$work/floor.txt")" \
    -v stored="$stored" -v peak="$(median <"$work/peak.txt")" \
    -v spread="$(sort -n "$work/ours.txt" | tr '\n' ' '); $(sort -n "$work/floor.txt" | tr '\n' ' ')" 'BEGIN {
      printf "%-9s %8d %8.1f %10.0f %8.2f %10.1f%% %9d   %s\n", shape, n, raw/1e3/ours, n*1000/ours, floor/ours, 100*stored/raw, peak/1024, spread
      split(bars, bar, " ")
      tell("floor", floor/ours >= bar[1])
      if (shape == "okta") tell("speed", raw/1e3/ours >= bar[2])
      tell("stored", 100*stored/raw <= bar[3])
      tell("memory", peak/1024 <= bar[4])
      printf "%-9s bars met:%s; missed:%s\n", "", said[1], said[0] == "" ? " none" : said[0] }
    function tell(bar, is_met) { said[is_met] = said[is_met] " " bar }'
done

echo
echo "where the time goes: each stage on its own; drain is reading from Kafka alone"
for shape in okta cerbos toolhive tiny; do
  adapter=$(adapter_of $shape)
  "$bench" write $shape "$records" >"$work/$shape.jsonl"
  rm -f "$work/drain.txt"
  for run in $(seq "$runs"); do timed "$work/drain.txt" /dev/null "$bench" drain "$brokers" "${topics[$shape]}"; done
  echo "shape $shape"
  awk -v ms="$(median <"$work/drain.txt")" -v n="$records" 'BEGIN { printf "  %-18s %7.2f µs/record\n", "drain", ms * 1000 / n }'
  taskset -c "$core" "$stages" $adapter "$work/$shape.jsonl"
  rm "$work/$shape.jsonl"
done
if [ "${SPARK:-0}" = 1 ]; then
  echo
  echo "the same topic through Spark Structured Streaming into Delta, on the same core (tests/bench/spark/run.sh)"
  RUNS=$runs WARMUPS=${WARMUPS:-3} tests/bench/spark/run.sh "$brokers" "${topics[okta]}" "$core"
fi
