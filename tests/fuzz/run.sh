#!/usr/bin/env bash
# Runs each fuzz target for the given seconds from the kept corpus and fails on a crash, a hang or 2 GB of memory.
# Needs no cargo-fuzz and no nightly: a plain build with the compiler's coverage instrumentation.
# The same inputs each time, so that a gate does not fail by chance; with a seed of its own (0: another each time) it looks
# at others.
#   tests/fuzz/run.sh SECONDS [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [SEED]}
seed=${2:-1}
target=${CARGO_TARGET_DIR:-../../target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# With the flags of the workspace: a seed of every record that an adapter is tested with.
(cd ../.. && cargo build -q --workspace --example fuzz_seeds)
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# Named by --target, the flags reach the targets and not the build scripts.
cargo build --release --locked --target "$host" --target-dir "$target"
for name in unwrap decode; do
  work=$(mktemp -d)
  [ "$name" != decode ] || "$target/../debug/examples/fuzz_seeds" "$work"
  mkdir -p "$target/found"
  failed=0
  "$target/$host/release/$name" "$work" "corpus/$name" -seed="$seed" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 \
    -artifact_prefix="$target/found/$name-" -print_final_stats=1 >"$work.log" 2>&1 || failed=$?
  echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work.log") runs"
  if [ "$failed" != 0 ]; then
    grep -a -m 1 -A 3 'panicked at' "$work.log" >&2 || true
    tail -40 "$work.log" >&2
    found=$(ls -t "$target/found/$name-"* 2>/dev/null | head -1)
    echo "fuzz: $name failed; the input is in $target/found, and here in Base64:" >&2
    base64 -w 0 "$found" >&2
    exit 1
  fi
  rm -rf "$work" "$work.log"
done
