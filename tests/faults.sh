#!/usr/bin/env bash
# The tests of faults that need a real Apache Kafka, a real S3-compatible store, or a binary of another version. Starts
# Kafka and the store if none answers; without Go, which builds the store, lakes in a bucket are skipped.
#
#   tests/faults.sh                      what the gate runs
#   VIALOG_TEST_LONG=1 tests/faults.sh   every test of faults, the long ones too (a broker that is gone for a minute);
#                                        `./dev faults` runs this
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export KAFKA_PORT=${KAFKA_PORT:-29092}
export VIALOG_TEST_KAFKA=127.0.0.1:$KAFKA_PORT
started=0
bucket=0
trap '[ $started = 0 ] || tests/peers/kafka.sh down || true; [ $bucket = 0 ] || tests/peers/s3.sh down || true' EXIT
(exec 3<>"/dev/tcp/127.0.0.1/$KAFKA_PORT") 2>/dev/null || { started=1; tests/peers/kafka.sh up; }
cargo build --workspace
filters=(real_kafka bucket)
[ -z "${VIALOG_TEST_LONG:-}" ] || filters+=(faults checker exactly_once hostile)
if command -v go >/dev/null; then
  (exec 3<>"/dev/tcp/127.0.0.1/${S3_PORT:-29000}") 2>/dev/null || bucket=1
  # In two steps: that `up` fails must not be passed over.
  store=$(tests/peers/s3.sh up)
  set -a
  eval "$store"
  set +a
fi
# One at a time: some of them stop the broker.
cargo test --workspace --test it -- --nocapture --test-threads=1 "${filters[@]}"

# A lake that two versions of the program write: this one, and one with a column more.
other=${XDG_CACHE_HOME:-$HOME/.cache}/vialog/vialog-next
mkdir -p "$(dirname "$other")"
tests/peers/next_version.sh "$other"
VIALOG_TEST_OTHER_BINARY=$other cargo test --workspace --test it -- --nocapture two_versions
