"""Latency by stage of the canaries in a lake: reads the Delta logs and files of `events` and `alerts`. See latency.sh."""
import glob
import json
import os
import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

lake, topic = sys.argv[1], sys.argv[2]
CANARY = "canary-"


def added(table):
    """Files of a table with the time when the commit that brought each was written, milliseconds."""
    for log in sorted(glob.glob(os.path.join(lake, table, "_delta_log", "*.json"))):
        actions = [json.loads(line) for line in open(log)]
        at = os.stat(log).st_mtime_ns / 1e6
        for action in actions:
            if "add" in action and action["add"]["dataChange"]:
                yield os.path.join(lake, table, action["add"]["path"]), at


seen, alerts = {}, {}
for path, at in added("events"):
    if not os.path.exists(path):
        continue
    rows = pq.ParquetFile(path).read(columns=["agent_id", "event_time", "kafka_timestamp", "kafka_topic"])
    rows = rows.filter(pc.and_(pc.starts_with(rows["agent_id"], CANARY), pc.equal(rows["kafka_topic"], topic)))
    for agent, event, kafka in zip(rows["agent_id"].to_pylist(), rows["event_time"].cast("int64").to_pylist(), rows["kafka_timestamp"].cast("int64").to_pylist()):
        seen[agent] = (event / 1000, kafka / 1000, at)
for path, at in added("alerts"):
    rows = pq.ParquetFile(path).read(columns=["entity"])
    for entity in rows["entity"].to_pylist():
        if entity.startswith("agent:" + CANARY):
            alerts.setdefault(entity.removeprefix("agent:"), at)

stages = {"event to Kafka": [], "Kafka to commit": [], "commit to alert": [], "event to alert": []}
for agent, (event, kafka, committed) in seen.items():
    if agent in alerts:
        for name, took in zip(stages, (kafka - event, committed - kafka, alerts[agent] - committed, alerts[agent] - event)):
            stages[name].append(took)
print(f"canaries: {len(seen)} committed, {len(alerts)} alerts")
for name, took in stages.items():
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    print(f"  {name:<16} p50 {at(0.5):6.0f} ms   p95 {at(0.95):6.0f} ms   p99 {at(0.99):6.0f} ms")
sys.exit(len(seen) == 0 or len(alerts) < len(seen))
