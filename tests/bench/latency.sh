#!/usr/bin/env bash
# How long it takes from an event to its alert, by stage, while events come at a rate: a real Kafka, a worker, a detector, and
# canaries among synthetic tool calls (ten a second, each with a secret in an argument).
#
#   tests/bench/latency.sh BINARY KAFKA_BENCH [RATE] [SECONDS]
#
# Prints p50, p95 and p99 of: event to Kafka, Kafka to commit, commit to alert, and the whole; and the CPU that worker and detector
# took. Needs VIALOG_TEST_PYTHON with pyarrow, or makes it (tests/peers/requirements.txt). LAKE=FOLDER measures on a lake that has history.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$1 bench=$2 rate=${3:-5000} seconds=${4:-60}
port=${KAFKA_PORT:-29092} brokers=127.0.0.1:${KAFKA_PORT:-29092}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vialog
python=${VIALOG_TEST_PYTHON:-$cache/venv-$(sha256sum tests/peers/requirements.txt | cut -c1-12)/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv "${python%/bin/python}"
  "$python" -m pip install -q -r tests/peers/requirements.txt
fi
work=$(mktemp -d) started=0 pids=()
finish() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ -z "${KEEP:-}" ] || cp "$work"/*.log "$KEEP"
  rm -rf "$work"
  [ $started = 0 ] || tests/peers/kafka.sh down
}
trap finish EXIT
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { tests/peers/kafka.sh up; started=1; }
topic=latency.$(date +%s)
lake=${LAKE:-$work/lake}
tests/peers/kafka.sh create "$topic" 2
cat >"$work/config.toml" <<T
environment = "development"
[lake]
uri = "$lake"
[kafka]
brokers = "$brokers"
group = "$topic"
[ingest]
flush_age = "${FLUSH_AGE:-500ms}"
[[source]]
topic = "$topic"
adapter = "toolhive"
T
cpu() { awk '{print ($14 + $15) * 10}' "/proc/$1/stat"; } # milliseconds
"$binary" ingest --config "$work/config.toml" >"$work/ingest.log" 2>&1 &
pids+=($!)
until [ -e "$lake.key" ]; do sleep 0.2; done
RUST_LOG=${DETECT_LOG:-info} "$binary" detect --config "$work/config.toml" >"$work/detect.log" 2>&1 &
pids+=($!)
sleep 5
"$bench" pace "$brokers" "$topic" "$rate" "$seconds"
sleep 5
echo "CPU: worker $(cpu "${pids[0]}") ms, detector $(cpu "${pids[1]}") ms"
"$python" tests/bench/latency.py "$lake" "$topic"
