"""The Spark side of the benchmark; run.sh says how it is run and what its limits are.

Every run is one Structured Streaming query with trigger(availableNow) from the earliest offset into a table that does
not exist yet, with a new checkpoint. The figures:

  query_s    from `start()` until the query has ended: planning, reading, writing, the Delta commit, the checkpoint
  median_s   of query_s over the timed runs, with min_s and max_s
  process_s  from before Python starts until the last query has ended: JVM start, warm-up and all runs
  cold_s     from before Python starts until the first (warm-up) query has ended: what one run in a new process costs
  cpu_s      median processor time of the JVM (JIT and collector too): steadier than median_s where CORE is shared
  outside_batches_s  median of query_s less the batches' own execution: a query's start and end

The last table is read back outside the time: every offset once, every record parsed, every hash right.
"""

import os
import shutil
import statistics
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

EVENT = """
  uuid STRING, published TIMESTAMP, eventType STRING, version STRING, severity STRING, displayMessage STRING,
  actor STRUCT<id: STRING, type: STRING, alternateId: STRING, displayName: STRING>,
  client STRUCT<id: STRING, ipAddress: STRING, device: STRING, zone: STRING,
    userAgent: STRUCT<rawUserAgent: STRING, os: STRING, browser: STRING>,
    geographicalContext: STRUCT<city: STRING, state: STRING, country: STRING, postalCode: STRING>>,
  outcome STRUCT<result: STRING, reason: STRING>,
  target ARRAY<STRUCT<id: STRING, type: STRING, alternateId: STRING, displayName: STRING>>,
  debugContext STRUCT<debugData: MAP<STRING, STRING>>,
  transaction STRUCT<type: STRING, id: STRING>
"""
# Min and max of these go into the Delta log; of the raw text and the hash they would be of no use.
STATISTICS = "topic,partition,offset,timestamp,event.published,event.eventType,event.actor.id"


def session(work: str, jars: str, heap_mb: int) -> SparkSession:
    settings = {
        "spark.driver.memory": f"{heap_mb}m",
        # One core: the serial collector. A large young generation, since all rows die young.
        "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC -Xms{heap_mb}m -Xmn{heap_mb * 2 // 3}m -XX:-UsePerfData",
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.eventLog.enabled": "false",
        "spark.local.dir": f"{work}/local",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        "spark.default.parallelism": "1",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.hadoop.parquet.compression.codec.zstd.level": "1",
        # Not the 96-bit times that are still the default.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Of these every value is another: a dictionary is tried in vain.
        "spark.hadoop.parquet.enable.dictionary#raw": "false",
        "spark.hadoop.parquet.enable.dictionary#sha256": "false",
        "spark.hadoop.parquet.enable.dictionary#offset": "false",
        "spark.hadoop.parquet.enable.dictionary#timestamp": "false",
        "spark.hadoop.parquet.enable.dictionary#event.uuid": "false",
        "spark.hadoop.parquet.enable.dictionary#event.published": "false",
        "spark.hadoop.parquet.enable.dictionary#event.transaction.id": "false",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.properties.defaults.dataSkippingStatsColumns": STATISTICS,
    }
    builder = SparkSession.builder.master("local[1]").appName("bench")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def cpu_seconds(spark: SparkSession) -> float:
    """Processor time of the JVM so far, with its JIT and collector."""
    return spark.sparkContext._jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis() / 1000


def ingest(spark: SparkSession, brokers: str, topic: str, table: str, checkpoint: str, batch: int):
    """One run: seconds of the query, of the JVM's processor time, and within the batches; records; batches."""
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", batch)
        .option("kafka.fetch.max.bytes", 64 << 20)
        .option("kafka.max.partition.fetch.bytes", 16 << 20)
        .option("kafka.max.poll.records", 20000)
        .option("kafka.receive.buffer.bytes", 4 << 20)
        .load()
    )
    value = f.col("value").cast("string")
    # One struct and not its fields one by one: the optimizer might parse once for each of those.
    rows = records.select(
        "topic",
        "partition",
        "offset",
        "timestamp",
        value.alias("raw"),
        f.sha2("value", 256).alias("sha256"),
        f.from_json(value, EVENT).alias("event"),
    )
    start, cpu = time.monotonic(), cpu_seconds(spark)
    query = (
        rows.writeStream.format("delta")
        .outputMode("append")
        .option("checkpointLocation", checkpoint)
        .trigger(availableNow=True)
        .start(table)
    )
    query.awaitTermination()
    seconds, cpu = time.monotonic() - start, cpu_seconds(spark) - cpu
    batches = [p for p in query.recentProgress if p["numInputRows"] > 0]
    inside = sum(p["durationMs"]["triggerExecution"] for p in batches) / 1000
    return seconds, cpu, inside, sum(p["numInputRows"] for p in batches), len(batches)


def check(spark: SparkSession, table: str, records: int) -> int:
    """Bytes of the raw records, after the table was found to have each of them once, parsed and with its hash."""
    row = (
        spark.read.format("delta")
        .load(table)
        .agg(
            f.count("*").alias("rows"),
            f.countDistinct("offset").alias("offsets"),
            f.count("event.uuid").alias("parsed"),
            f.count("event.published").alias("dated"),
            f.sum((f.sha2("raw", 256) == f.col("sha256")).cast("long")).alias("hashed"),
            f.sum(f.octet_length("raw")).alias("bytes"),
        )
        .first()
    )
    found = row.asDict()
    raw_bytes = found.pop("bytes")
    if set(found.values()) != {records}:
        sys.exit(f"the table is not what was sent: {records} records, {found}")
    return raw_bytes


def stored(table: str) -> int:
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(table)
        for name in names
        if name.endswith(".parquet") and "_delta_log" not in folder
    )


def peak_mib(spark: SparkSession) -> int:
    pid = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    brokers, topic = sys.argv[1:]
    work, jars, started = os.environ["WORK"], os.environ["SPARK_JARS"], int(os.environ["START_NS"])
    runs, warmups = int(os.environ.get("RUNS", "5")), int(os.environ.get("WARMUPS", "1"))
    batch, heap_mb = int(os.environ.get("BATCH", "1000000")), int(os.environ.get("HEAP_MB", "6144"))
    spark = session(work, jars, heap_mb)
    times, cpus, outside, counts, cold = [], [], [], set(), None
    table, batches = "", 0
    for run in range(warmups + runs):
        if table:
            shutil.rmtree(table)
        table = f"{work}/table-{run}"
        seconds, cpu, inside, records, batches = ingest(spark, brokers, topic, table, f"{work}/checkpoint-{run}", batch)
        done = time.time_ns()
        cold = cold or (done - started) / 1e9
        counts.add(records)
        kind = "warmup" if run < warmups else "run"
        print(f"{kind} records={records} batches={batches} query_s={seconds:.3f} cpu_s={cpu:.3f} batches_s={inside:.3f}", flush=True)
        if run >= warmups:
            times.append(seconds)
            cpus.append(cpu)
            outside.append(seconds - inside)
    process = (done - started) / 1e9
    if len(counts) != 1 or 0 in counts:
        sys.exit(f"each run has to read the same records, at least one: {counts}")
    peak = peak_mib(spark)
    raw_bytes = check(spark, table, records)
    median = statistics.median(times)
    print(
        f"spark records={records} raw_bytes={raw_bytes} median_s={median:.3f} min_s={min(times):.3f} "
        f"max_s={max(times):.3f} process_s={process:.3f}"
    )
    print(
        f"spark-more mb_per_s={raw_bytes / 1e6 / median:.1f} cpu_s={statistics.median(cpus):.3f} cold_s={cold:.3f} outside_batches_s={statistics.median(outside):.3f} "
        f"batches={batches} stored_bytes={stored(table)} peak_mib={peak}"
    )
    if keep := os.environ.get("KEEP"):
        shutil.copytree(table, keep)
    spark.stop()


if __name__ == "__main__":
    main()
