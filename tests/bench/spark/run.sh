#!/usr/bin/env bash
# Spark Structured Streaming from one Kafka topic to a Delta table on one pinned core, to set beside tests/bench/run.sh.
#
#   tests/bench/spark/run.sh BROKERS TOPIC CORE
#
# RUNS (5) timed queries into fresh tables after WARMUPS (1) that do not count, all in one JVM. Prints a line for each,
# then `spark records= raw_bytes= median_s= min_s= max_s= process_s=` and `spark-more ...`: stream.py says what each
# figure has in it. BATCH (1000000) is maxOffsetsPerTrigger, HEAP_MB (6144) the JVM's heap, KEEP a new folder for a copy
# of the last table.
#
# Set up for Spark's good: one task thread, one shuffle partition, no UI, zstd level 1, statistics and dictionaries only
# where they help, large fetches, one batch for the whole topic (each batch costs about a second of processor time), JIT
# warm, serial collector. The heap is larger than it need be: 1536 took 1.7 GiB in place of 4 and some 3 % more time.
# The JIT is not done after one warm-up of 100,000 records: WARMUPS=10 is kinder still.
# Spark does less than ours: it keeps the raw value, its SHA-256, its place and a typed struct of some fields; it does
# not redact, and it does not keep every leaf of the JSON.
#
# Limits: one partition's worth of work (local[1]); records of the shape `okta`; local disk, not an object store. The
# broker is not on CORE by any rule of this script: leave CORE to Spark, and the machine alone, for figures that count.
# Needs python3 with venv, Java 17 or later and Maven. What it installs is cached under the user's cache folder by the
# content of requirements.txt and pom.xml.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 3 ] || { sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2; }
brokers=$1 topic=$2 core=$3
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vialog/spark-$(cat "$here/requirements.txt" "$here/pom.xml" | sha256sum | cut -c1-12)

install() {
  [ -e "$cache/.done" ] && return
  rm -rf "$cache"
  mkdir -p "$cache/jars"
  python3 -m venv "$cache/venv" >&2
  "$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" >&2
  # Only what PySpark does not bring: the rest of the tree (Hadoop, Jackson, Parquet, zstd ...) is older than Spark's own.
  mvn -B -q -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/jars" \
    -DincludeArtifactIds=spark-sql-kafka-0-10_2.13,spark-token-provider-kafka-0-10_2.13,kafka-clients,commons-pool2,delta-spark_4.2_2.13,delta-storage,delta-kernel-api,delta-kernel-defaults,delta-kernel-unitycatalog,unitycatalog-client,unitycatalog-hadoop >&2
  touch "$cache/.done"
}

install
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# No SPARK_HOME or Spark settings of the caller's: those of the venv.
unset SPARK_HOME SPARK_CONF_DIR PYSPARK_SUBMIT_ARGS PYTHONPATH
export SPARK_LOCAL_IP=127.0.0.1 SPARK_JARS="$cache/jars" WORK="$work" START_NS
START_NS=$(date +%s%N)
taskset -c "$core" "$cache/venv/bin/python" "$here/stream.py" "$brokers" "$topic" 2>"$work/stderr" || { tail -n 40 "$work/stderr" >&2; exit 1; }
