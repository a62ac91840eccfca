#!/usr/bin/env python3
"""Compares what vialog says of the scenario with the truth about it. Prints tables; exit code 1 if anything differs.

  check.py --vialog PROGRAM --lake FOLDER --truth TRUTH.jsonl --audit FILE...   (the audit files as ToolHive wrote them)

Which event belongs to which act is found here by other means than vialog's: by going up from span to parent span to the
agent's own span of the act.
"""
import argparse
import collections
import json
import subprocess

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--vialog", required=True)
parser.add_argument("--lake", required=True)
parser.add_argument("--truth", required=True)
parser.add_argument("--audit", nargs="+", required=True)
args = parser.parse_args()
wrong: list[str] = []


def query(sql: str) -> list[dict]:
    done = subprocess.run([args.vialog, "query", "--lake", args.lake, "--format", "json", sql], stdout=subprocess.PIPE, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check(what: str, found, expected) -> None:
    same = found == expected
    shown = f"{found}" if same else f"{found}, expected {expected}"
    print(f"  {'ok   ' if same else 'WRONG'}  {what}: {shown if len(shown) < 300 else shown[:300] + ' ...'}")
    if not same:
        wrong.append(what)


def table(title: str, rows) -> None:
    print(f"\n{title}")
    for *names, count in rows:
        print(f"  {count:>5}  " + "  ".join(str(name) for name in names))


truth = [json.loads(line) for line in open(args.truth)]
by_act = {line["act"]: line for line in truth}
by_span = {line["span_id"]: line["act"] for line in truth}

# Which act an event belongs to.
events = query("SELECT event_id, source_vendor, source_kind, category, activity, span_id, service_name, ext FROM events")
parents = {e["span_id"]: json.loads((e["ext"] or {}).get("parentSpanId", "null")) for e in events if e["source_vendor"] == "otel"}


def act_of(span: str | None) -> str | None:
    seen = set()
    while span and span not in by_span and span not in seen:
        seen.add(span)
        span = parents.get(span)
    return by_span.get(span)


acts_of = {e["event_id"]: act_of(e["span_id"]) for e in events}
audited = [json.loads(line) for file in args.audit for line in open(file)]
audited = {act_of(a["data"]["request"]["params"]["_meta"]["traceparent"].split("-")[2]) for a in audited if a["type"] == "mcp_tool_call"}
called = [line for line in truth if line["refused_by"] in (None, "gateway")]
lost = {line["act"] for line in called} - audited

counts = collections.Counter((e["source_vendor"], e["category"], e["service_name"] if e["source_vendor"] == "otel" else "-") for e in events)
table("Events by source", [(*key, n) for key, n in sorted(counts.items())])
print("\nEach source is whole")
check("records that could not be read", query("SELECT COUNT(*) AS n FROM rejections")[0]["n"], 0)
check("tokens exchanged (Keycloak)", len([e for e in events if e["activity"] == "exchange"]), len({t["jti"] for t in truth}))
for vendor in ("cerbos", "opa"):
    said = sorted(acts_of[e["event_id"]] or "?" for e in events if e["source_vendor"] == vendor and e["category"] == "authz_decision")
    check(f"acts that {vendor} decided on", (len(said), said == sorted(by_act)), (len(truth), True))
said = {acts_of[e["event_id"]] for e in events if e["source_vendor"] == "toolhive" and e["category"] == "tool_call"}
check("calls in ToolHive's audit files that are events", (len(said), said == audited), (len(audited), True))
for service, expected in (("research-agent", called), ("records", [c for c in called if c["server"] == "records" and c["refused_by"] is None])):
    said = {acts_of[e["event_id"]] for e in events if e["source_vendor"] == "otel" and e["category"] == "tool_call" and e["service_name"] == service}
    check(f"calls that {service} has spans of", said == {c["act"] for c in expected}, True)

# One row for each act.
acts = query("SELECT * FROM acts ORDER BY event_time")
rows = collections.defaultdict(list)
for act in acts:
    evidence = (act["call_event_ids"] or []) + (act.get("decision_event_ids") or [act["decision_event_id"]])
    belongs = {acts_of.get(e) for e in evidence if e}
    rows[tuple(sorted(b or "?" for b in belongs))].append(act)
joins = collections.Counter((a["parts"], *(" ".join(str(a[name]) for name in names if a[name] is not None) or "-" for names in (
    ["call_join"], ["decision_join", "decision_confidence"], ["token_join", "token_confidence"]))) for a in acts)
table("Acts by how their parts were joined, and with what confidence: parts | call | decision | token",
      [(" | ".join(key), n) for key, n in sorted(joins.items())])

print("\nEach act is one row, and says what is true")
check("rows", len(acts), len(truth))
check("rows that mix acts", [k for k in rows if len(k) > 1], [])
check("acts without exactly one row", [r for r in by_act if len(rows.get((r,), [])) != 1], [])
both = collections.Counter(act for event, act in acts_of.items() if act and event.split(":")[0] in ("cerbos", "opa") and ":decision:" in event)
shown = collections.Counter(acts_of.get(e) for a in acts for e in a.get("decision_event_ids") or [a["decision_event_id"]] if e)
check("acts with the decisions of both decision points", (sum(shown.values()), shown == both), (2 * len(truth), True))
REASONS = {"cerbos": "an export needs an approval", "opa": "the amount is over the limit of 100"}
columns = collections.Counter()
examples = {}
for line in truth:
    for act in rows.get((line["act"],), [])[:1]:
        refused = line["refused_by"]
        expected = {
            "delegator_id": line["user_id"], "agent_id": line["agent"], "mcp_server": line["server"], "tool_name": line["tool"],
            "token_jti": line["jti"], "decision": "deny" if refused else "allow", "outcome": line["outcome"] or "unknown",
            "parts": "decision" if refused in REASONS else "call", "trace_id": line["trace_id"],
        }
        if line["act"] in lost and line["server"] == "everything":
            expected["outcome"] = "unknown"  # only the agent's own span is there, and such spans do not say how a call ended
        found = {name: act[name] for name in expected}
        expected["sentence"] = f"User {line['user']} via Agent {line['agent']} via MCP Server {line['server']} {'asked to call' if refused in REASONS else 'called'} {line['tool']}"
        found["sentence"] = act["sentence"][:len(expected["sentence"])]
        found["parts"] = found["parts"].split(" + ")[0]
        expected["decision_reason"], found["decision_reason"] = (True, bool(act["decision_reason"])) if refused not in REASONS else (
            REASONS[refused], act["decision_reason"])
        for name in expected:
            columns[name] += found[name] == expected[name]
            if found[name] != expected[name]:
                examples.setdefault(name, f"{line['act']} {line['tool']}: {found[name]}, expected {expected[name]}")
for name in ("delegator_id", "agent_id", "mcp_server", "tool_name", "decision", "decision_reason", "token_jti", "outcome", "parts", "trace_id", "sentence"):
    check(f"{name} right{' - ' + examples[name] if name in examples else ''}", columns[name], len(truth))

# What was lost is named. ToolHive's own spans go the way of its audit records, and are a second observer that lacks calls.
named = query("SELECT seen_by, not_seen_by, event_id FROM lost_calls")
table("Lost calls named", [(*k, n) for k, n in sorted(collections.Counter((f"seen by {n['seen_by']}", f"not by {n['not_seen_by']}") for n in named).items())])
missed = collections.defaultdict(set)
for n in named:
    missed[n["not_seen_by"]].add(acts_of[n["event_id"]])
spanned = {acts_of[e["event_id"]] for e in events if e["source_vendor"] == "otel" and e["source_kind"] == "mcp_gateway" and e["category"] == "tool_call"}
unspanned = {line["act"] for line in called} - spanned
print("\nWhat ToolHive lost is named one by one, and nothing else is")
check("calls that ToolHive did not write down", len(missed["toolhive:toolhive"]), len(lost))
check("they are those that its audit files lack", missed.pop("toolhive:toolhive", set()) == lost, True)
check("calls that ToolHive wrote no span of", (len(missed.get("otel:otel", ())), missed.pop("otel:otel", set()) == unspanned), (len(unspanned), True))
check("other observers that are said to lack calls", dict(missed), {})
check("some were lost, and some were not", 0 < len(lost) < len(called), True)
check("refusals that were lost", len([r for r in lost if by_act[r]["refused_by"]]), 0)
check("lost by a client that reads to the end", len([r for r in lost if by_act[r]["reads_to_the_end"]]), 0)
doubts = query("SELECT source, \"check\", SUM(missing) AS n FROM coverage WHERE missing > 0 GROUP BY 1, 2")
expected = {(source, "calls that another observer saw"): n for source, n in (("toolhive:toolhive", len(lost)), ("otel:otel", len(unspanned))) if n}
check("all doubts of coverage", {(d["source"], d["check"]): d["n"] for d in doubts}, expected)

print("\nEvery act of the truth is accounted for")
kinds = collections.Counter()
for line in truth:
    kind = "refused by " + line["refused_by"] if line["refused_by"] else "a call that ToolHive lost, named" if line["act"] in lost else "a call"
    kinds[line["user"], kind] += len(rows.get((line["act"],), [])) == 1
table("Truth by person", [(*k, n) for k, n in sorted(kinds.items())])
check("lines of the truth", sum(kinds.values()), len(truth))
unknown = [line for line in truth if line["act"] in lost and line["server"] == "everything"]
print(f"\nNot to be known: how {len(unknown)} calls ended. ToolHive lost them, the server writes no spans, and the agent's own span does not say.")
print(f"\n{len(wrong)} wrong" if wrong else "\nall true")
raise SystemExit(1 if wrong else 0)
