"""Reads a Delta table with DuckDB and with deltalake, every column; prints one JSON object a reader."""
import datetime
import json
import os
import sys

import deltalake
import duckdb

table = sys.argv[1]

arrow = deltalake.DeltaTable(table).to_pyarrow_table()
rows = [r for r in arrow.to_pylist() if r["row_kind"] == "event"]
start = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
times = sum((r["event_time"] - start) // datetime.timedelta(microseconds=1) for r in rows)
said = {"events": len(rows), "ids": len({r["event_id"] for r in rows}), "offsets": sum(r["offset"] for r in rows), "times": str(times)}
print(json.dumps({"reader": "deltalake", **said}))

import duckdb_extension_delta  # the extension as a package: INSTALL would fetch it from elsewhere

folder = os.path.dirname(duckdb_extension_delta.__file__)
path = next(os.path.join(d, f) for d, _, fs in os.walk(folder) for f in fs if f.endswith(".duckdb_extension"))
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
con.execute(f"LOAD '{path}'")
con.execute(f"CREATE TABLE rows AS SELECT * FROM delta_scan('{table}') WHERE row_kind = 'event'")
events, ids, offsets, times = con.execute(
    'SELECT count(*), count(DISTINCT event_id), sum("offset"), sum(epoch_us(event_time)) FROM rows'
).fetchone()
print(json.dumps({"reader": "duckdb", "events": events, "ids": ids, "offsets": int(offsets), "times": str(int(times))}))
