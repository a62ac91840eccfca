#!/usr/bin/env bash
# Ingest throughput on one pinned core: generated ToolHive-shaped records from a file (the decode, redact, hash,
# encode and commit stages of what ships), against the floor: sha256 and zstd -1 of the same bytes, same core.
#
#   tests/bench/ingest.sh BINARY [RECORDS] [RUNS]
#
# Prints MB/s of raw JSON, events/s, peak resident memory and stored ÷ raw bytes; medians over RUNS.
set -euo pipefail
binary=$1 records=${2:-100000} runs=${3:-5}
core=$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$binary" generate --seed 7 --events "$records" --out "$work/traffic" >/dev/null
file=$work/traffic/toolhive.jsonl
raw=$(stat -c %s "$file")
lines=$(wc -l <"$file")
median() { sort -n | awk '{v[NR]=$1} END{print v[int((NR+1)/2)]}'; }
timed() { # seconds of one command on the core
  local start end
  start=$(date +%s%N); taskset -c "$core" "$@" >/dev/null 2>&1; end=$(date +%s%N)
  echo $(( (end - start) / 1000000 ))
}
: >"$work/ours"; : >"$work/floor"
for i in $(seq "$runs"); do
  timed /usr/bin/env TOKIO_WORKER_THREADS=1 RUST_LOG=error "$binary" import --lake "$work/lake$i" --adapter toolhive "$file" >>"$work/ours"
  timed bash -c "sha256sum '$file'; zstd -1 -q -c '$file' | wc -c" >>"$work/floor"
done
ours=$(median <"$work/ours") floor=$(median <"$work/floor")
stored=$(du -sb "$work/lake1/events" | cut -f1)
peak=$(TOKIO_WORKER_THREADS=1 RUST_LOG=error taskset -c "$core" python3 - "$binary" "$work/lakem" "$file" <<'P'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "import", "--lake", sys.argv[2], "--adapter", "toolhive", sys.argv[3]], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
P
)
awk -v raw="$raw" -v lines="$lines" -v ours="$ours" -v floor="$floor" -v stored="$stored" -v peak="$peak" 'BEGIN {
  printf "records %d, raw %.1f MB, runs median\n", lines, raw/1e6
  printf "ingest      %8.1f MB/s of raw JSON, %8.0f events/s\n", raw/1e3/ours, lines*1000/ours
  printf "floor       %8.1f MB/s (sha256 + zstd -1 of the same bytes)\n", raw/1e3/floor
  printf "ours/floor  %8.2f\n", floor/ours
  printf "stored/raw  %8.1f %%\n", 100*stored/raw
  printf "peak memory %8d MiB\n", peak
}'
echo "spread (ms): ours $(sort -n "$work/ours" | tr '\n' ' ') floor $(sort -n "$work/floor" | tr '\n' ' ')"
