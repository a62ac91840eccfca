#!/usr/bin/env bash
# What all rules cost over a million new events, beside what ingest costs for the same ones: CPU of the processes, user and system.
#
#   tests/bench/pack.sh BINARY KAFKA_BENCH [RECORDS]
#
# Two lakes. One is new: tool calls of one source, no history, nothing to learn from. One has lived: fourteen days of calls and of
# decisions on them, which the rules have seen; what is new is half calls, half decisions, by trace of each other. Each is ingested
# from a real Kafka (started, if none answers), as a worker does it, then judged by `detect --once`. Both use all cores, as they do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$1 bench=$2 records=${3:-1000000}
port=${KAFKA_PORT:-29092} brokers=127.0.0.1:${KAFKA_PORT:-29092}
days=14 a_day=$((records / 50))
work=$(mktemp -d)
started=0
trap 'rm -rf "$work"; [ $started = 0 ] || tests/peers/kafka.sh down' EXIT
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { tests/peers/kafka.sh up; started=1; }

# CPU seconds and peak MiB of a command to the file $1.
cost() {
  python3 - "$@" <<'P'
import resource, subprocess, sys
subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(f"{used.ru_utime + used.ru_stime:.1f} {used.ru_maxrss // 1024}\n")
P
}

new_events() { # LAKE SHAPES...: ingests RECORDS in all, judges them, prints a row
  local lake=$1 stamp from to shape config=$work/$1.toml
  shift
  stamp=$(date +%s%N)
  printf 'environment = "development"\n[lake]\nuri = "%s"\n[kafka]\nbrokers = "%s"\ngroup = "pack.%s"\n' "$work/$lake" "$brokers" "$stamp" >"$config"
  from=$((days * a_day)) to=$((days * a_day + records / $#))
  for shape in "$@"; do
    tests/peers/kafka.sh create "pack.$stamp.$shape" 1
    "$bench" publish "$brokers" "pack.$stamp.$shape" "$shape" "$from" "$to" >/dev/null
    printf '[[source]]\ntopic = "pack.%s.%s"\nadapter = "%s"\ninstance = "%s"\n' "$stamp" "$shape" "$shape" "$shape" >>"$config"
  done
  cost "$work/ingest" "$binary" ingest --config "$config" --once
  cost "$work/detect" "$binary" detect --lake "$work/$lake" --once
  read -r ingest ingest_mib <"$work/ingest"
  read -r detect detect_mib <"$work/detect"
  awk -v lake="$lake" -v n="$records" -v a="$ingest" -v am="$ingest_mib" -v b="$detect" -v bm="$detect_mib" \
    'BEGIN { printf "%-6s %9d %9.1f s %6d MiB %9.1f s %6d MiB %8.2f\n", lake, n, a, am, b, bm, b / a }'
  rm -rf "$work/$lake"
}

printf '%-6s %9s %11s %10s %11s %10s %8s\n' lake events ingest "" detect "" ratio
new_events new toolhive
for ((day = days; day > 0; day--)); do
  for shape in toolhive cerbos; do
    "$bench" write $shape $(((days - day) * a_day)) $(((days - day + 1) * a_day)) $day >"$work/$shape.jsonl"
    "$binary" import --lake "$work/lived" --environment development --adapter $shape --instance $shape "$work/$shape.jsonl" >/dev/null
  done
done
"$binary" detect --lake "$work/lived" --once >/dev/null
[ -n "${ONLY_NEW:-}" ] || new_events lived toolhive cerbos
