"""Reads a Delta table with DuckDB and with deltalake; prints one JSON object a reader."""
import json
import os
import sys

import deltalake
import duckdb

table = sys.argv[1]

arrow = deltalake.DeltaTable(table).to_pyarrow_table(columns=["row_kind", "event_id"])
rows = [r for r in arrow.to_pylist() if r["row_kind"] == "event"]
print(json.dumps({"reader": "deltalake", "events": len(rows), "ids": len({r["event_id"] for r in rows})}))

import duckdb_extension_delta  # the extension as a package: INSTALL would fetch it from elsewhere

folder = os.path.dirname(duckdb_extension_delta.__file__)
path = next(os.path.join(d, f) for d, _, fs in os.walk(folder) for f in fs if f.endswith(".duckdb_extension"))
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
con.execute(f"LOAD '{path}'")
events, ids = con.execute(
    f"SELECT count(*), count(DISTINCT event_id) FROM delta_scan('{table}') WHERE row_kind = 'event'"
).fetchone()
print(json.dumps({"reader": "duckdb", "events": events, "ids": ids}))
