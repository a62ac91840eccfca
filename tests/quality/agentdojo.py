"""Makes labelled agent traffic out of AgentDojo: a public benchmark of agents, their tasks and attacks on them.

What for: detection is measured on sessions that nobody here made up. Every tool call, argument and destination is the
benchmark's own ground truth, run in its own environments; every attack is one of its injection tasks.

    pip install -r tests/quality/requirements.txt
    python tests/quality/agentdojo.py --out FOLDER [--seed N] [--job task|suite]

FOLDER gets `toolhive.jsonl` (audit events of ToolHive, one a call), `labels.jsonl` (docs/rules.md says what is in it) and
`inventory/`. The same seed, options and package give the same bytes.

How: an agent of each suite (banking, slack, travel, workspace) works for one person. A job is a user task. Sessions of a job come
as a Poisson process (1.2 a business day), between 08 and 18 by the person's clock but for one in ten; calls are lognormal gaps apart
(median 1.5 s). After 35 days of history each injection task hits each user task of its suite once: one session that would have been
benign gets its calls, right after the first call whose result an attacker could have written (found with a canary), else the
first. So a session's time says nothing about its label. Attacks on one job are at least 32 days apart, so that none is in the 30 days
that the next is judged by. Injection tasks whose ground truth has no calls are left out; with agentdojo 0.1.35 that leaves 609 attacks.

The split: user tasks and injection tasks are halved (the seed decides). `tune` are attacks of the first halves, `report` those of the
second halves, `mixed` the rest: neither its job nor its attack was then looked at in `report`. Benign sessions go by their user task.

What it is not:
- There is no model in it. A job makes the same calls with the same arguments each time, so a benign session of a known job
  has nothing new, and the share of benign sessions that are flagged is the best case, no measurement of agents that vary.
- `--job suite` is the other end: one job for all tasks of a suite, and as many attacks as find a day. The second
  half of the user tasks is new after the history, and the labels of the first session of each are of the split `first`. What is
  flagged there is what an agent costs that is given something new to do.
- An attack is carried out to the end, every time; a hijacked model often fails, or does less.
- Results do not hold the text of the injection: what is measured is what an agent does, not what it reads.
- There are no decisions, tokens or sign-ins; rules about those are not measured.
"""

import argparse
import datetime
import functools
import hashlib
import json
import math
import os
import random
import sys
import types
from pathlib import Path
from zoneinfo import ZoneInfo

# The benchmark lists some things out of sets; with a fixed order of hashes the same seed gives the same bytes.
if __name__ == "__main__" and os.environ.get("PYTHONHASHSEED") != "0":
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})

# This file has the name of the package; without this it would import itself.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.default_suites.v1.tools import cloud_drive_client, email_client
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import _SUITES, get_suites

VERSION = list(_SUITES)[-1]
START = datetime.date(2025, 9, 1)
HISTORY_DAYS = 35
ATTACK_EVERY_DAYS = 32
SPREAD_DAYS = 14
SESSIONS_A_DAY = 1.2
OUT_OF_HOURS = 0.1
FIRST_HOUR, LAST_HOUR = 8, 18
GAP_MEDIAN_S, GAP_SIGMA = 1.5, 0.8
MAX_RESULT_CHARS = 500
CANARY = "---CANARY---"
ISSUER = "https://idp.example.com"
# Suite: the person that its agent works for, and their zone.
PEOPLE = {
    "banking": ("emma", "Europe/Zurich"),
    "slack": ("bob", "America/New_York"),
    "travel": ("mia", "Asia/Tokyo"),
    "workspace": ("olga", "Europe/London"),
}


class FixedClock(datetime.datetime):
    """The tools put the time of the call into results; here it is always the same."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2024, 5, 15, 12, 0, 0, tzinfo=tz)


for module in (email_client, cloud_drive_client):
    module.datetime = types.SimpleNamespace(**{**vars(datetime), "datetime": FixedClock})


def run(suite, env, calls):
    """Calls with their results: (tool, arguments, text of the result, whether it failed)."""
    runtime = FunctionsRuntime(suite.tools)
    done = []
    for call in calls:
        result, error = runtime.run_function(env, call.function, call.args)
        done.append((call.function, dict(call.args), error or tool_result_to_str(result), error is not None))
    return done


@functools.cache
def loaded(suite, text):
    """The environment of a suite with the same text wherever an attacker can write; without one, as it comes."""
    return suite.load_and_inject_default_environment({v: text for v in suite.get_injection_vector_defaults()} if text else {})


def environment(suite, task, text=None):
    return task.init_environment(loaded(suite, text).model_copy(deep=True))


def place_of_injection(suite, task):
    """How many calls the agent makes before the attack: up to the first result that an attacker can write to."""
    try:
        calls = task.ground_truth(environment(suite, task, CANARY))
        results = run(suite, environment(suite, task, CANARY), calls)
    except Exception:  # a ground truth that reads what the canary stands in
        return 1
    return next((n + 1 for n, (_, _, text, _) in enumerate(results) if CANARY in text), 1)


def benign(suite, task):
    env = environment(suite, task)
    return run(suite, env, task.ground_truth(env))


def attacked(suite, task, injection, place):
    """The user task with the injection task's calls in it, all in one environment."""
    env = environment(suite, task)
    calls = task.ground_truth(env)
    before = run(suite, env, calls[:place])
    injected = run(suite, env, injection.ground_truth(env))
    return before, injected, run(suite, env, calls[place:])


def number(name):
    return int(name.rsplit("_", 1)[1])


def halves(names, rng):
    """Which half each is in; the seed decides."""
    order = sorted(names, key=number)
    rng.shuffle(order)
    return {name: int(place >= (len(order) + 1) // 2) for place, name in enumerate(order)}


def poisson(rng, mean):
    n, left = 0, rng.random()
    while left > math.exp(-mean):
        left *= rng.random()
        n += 1
    return n


def starts_of_day(day, zone, rng):
    """When sessions of a job start on a business day."""
    found = []
    for _ in range(poisson(rng, SESSIONS_A_DAY)):
        if rng.random() < OUT_OF_HOURS:
            hour = rng.uniform(LAST_HOUR, 24 + FIRST_HOUR)
        else:
            hour = rng.uniform(FIRST_HOUR, LAST_HOUR)
        wall = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(hours=hour)
        found.append(wall.replace(tzinfo=zone).astimezone(datetime.timezone.utc))
    return sorted(found)


def attack_day(earliest, rng):
    """One of the five business days from a day on, so that no weekday says anything about the label."""
    days = [earliest + datetime.timedelta(days=n) for n in range(7)]
    return rng.choice([day for day in days if day.weekday() < 5])


def stamp(moment):
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Job:
    """An identity that a rule keeps a baseline of, and the attacks that are still to come for it."""

    def __init__(self, attacks, rng):
        self.attacks, self.rng = attacks, rng
        self.not_before = attack_day(START + datetime.timedelta(days=HISTORY_DAYS + rng.randrange(SPREAD_DAYS)), rng)

    def attack_on(self, day, task):
        """The next attack on this user task, when one is due."""
        if day < self.not_before:
            return None
        place = next((n for n, (of, _) in enumerate(self.attacks) if of == task), None)
        if place is None:
            return None
        self.not_before = attack_day(day + datetime.timedelta(days=ATTACK_EVERY_DAYS), self.rng)
        return self.attacks.pop(place)[1]


class World:
    """All suites, and what is written of them."""

    def __init__(self, seed, by_suite):
        self.seed, self.by_suite = seed, by_suite
        self.records, self.labels = [], []
        self.tasks = {}  # (suite, user task) -> benign calls
        self.attacks = {}  # (suite, user task, injection task) -> (before, injected, after)
        self.jobs = {}
        self.user_half, self.injection_half = {}, {}
        self.seen = set()
        for name, suite in sorted(get_suites(VERSION).items()):
            self.read(name, suite, random.Random(f"{seed}/{name}"))

    def read(self, name, suite, rng):
        injections = {n: t for n, t in suite.injection_tasks.items() if t.ground_truth(loaded(suite, None).model_copy(deep=True))}
        self.user_half[name], self.injection_half[name] = halves(suite.user_tasks, rng), halves(injections, rng)
        due = []
        for task_name, task in sorted(suite.user_tasks.items(), key=lambda t: number(t[0])):
            self.tasks[name, task_name] = benign(suite, task)
            place = place_of_injection(suite, task)
            for injection_name, injection in sorted(injections.items(), key=lambda t: number(t[0])):
                self.attacks[name, task_name, injection_name] = attacked(suite, task, injection, place)
                due.append((task_name, injection_name))
        rng.shuffle(due)
        for task_name in suite.user_tasks:
            mine = [attack for attack in due if attack[0] == task_name]
            self.jobs[name, task_name] = Job(due if self.by_suite else mine, random.Random(f"{self.seed}/{name}/{task_name}"))
        if self.by_suite:  # one identity: one queue and one date for all tasks
            shared = Job(due, random.Random(f"{self.seed}/{name}"))
            self.jobs.update({key: shared for key in self.jobs if key[0] == name})

    def days(self):
        most = max(len({i for s, t, i in self.attacks if s == name}) for name in PEOPLE)
        return HISTORY_DAYS + most * (ATTACK_EVERY_DAYS + 7) + SPREAD_DAYS

    def play(self):
        first_days = {}
        for offset in range(self.days()):
            day = START + datetime.timedelta(days=offset)
            if day.weekday() >= 5:
                continue
            for suite, task in self.tasks:
                rng = random.Random(f"{self.seed}/{suite}/{task}/{day}")
                if self.by_suite and self.user_half[suite][task] == 1:
                    wait = HISTORY_DAYS + random.Random(f"{self.seed}/{suite}/{task}/first").randrange(120)
                    first_days.setdefault((suite, task), START + datetime.timedelta(days=wait))
                    if day < first_days[suite, task]:
                        continue
                starts = starts_of_day(day, ZoneInfo(PEOPLE[suite][1]), rng)
                is_first = (suite, task) in first_days and (suite, task) not in self.seen
                self.seen |= {(suite, task)} if starts else set()
                attack = self.jobs[suite, task].attack_on(day, task) if starts and not is_first else None
                hit = rng.randrange(len(starts)) if attack else None
                for n, start in enumerate(starts):
                    self.session(suite, task, attack if n == hit else None, (start, offset, is_first and n == 0), rng)

    def session(self, suite, task, attack, when, rng):
        start, offset, is_first = when
        before, injected, after = (self.tasks[suite, task], [], []) if attack is None else self.attacks[suite, task, attack]
        trace = f"{rng.getrandbits(128) | 1:032x}"
        at, ids, times = start, [], []
        for call in before + injected + after:
            ids.append(self.record(suite, task, call, (at, trace), rng))
            times.append(at)
            at += datetime.timedelta(seconds=0.05 + rng.lognormvariate(math.log(GAP_MEDIAN_S), GAP_SIGMA))
        if offset < HISTORY_DAYS:
            return
        first, last = len(before), len(before) + len(injected)
        half = self.user_half[suite][task]
        same = attack is None or self.injection_half[suite][attack] == half
        label = {
            "entity": f"job:{self.agent(suite)}/{self.job(suite, task)}",
            "day": times[0].date().isoformat(), "expected": attack is not None,
            "session": trace, "group": suite, "split": "first" if is_first else ("tune", "report")[half] if same else "mixed",
            "attack": attack, "start": stamp(times[0]), "end": stamp(times[-1]), "event_ids": ids,
        }
        if attack is not None:
            label["incident_start"] = stamp(times[first])
            label["incident_event_ids"] = ids[first:last]
        self.labels.append(label)

    def agent(self, suite):
        return f"{suite}-agent"

    def job(self, suite, task):
        return suite if self.by_suite else f"{suite}/{task}"

    def record(self, suite, task, call, when, rng):
        """An audit event of ToolHive 0.47 with request and response data, and the job in `_meta.job_id`, where the adapter looks for it."""
        (tool, arguments, text, failed), (at, trace) = call, when
        person = PEOPLE[suite][0]
        audit_id = hashlib.sha256(rng.randbytes(16)).hexdigest()[:32]
        took = datetime.timedelta(milliseconds=rng.randrange(5, 45))
        rpc = rng.randrange(1_000_000)
        self.records.append((at, audit_id, {
            "time": stamp(at + took), "level": "AUDIT", "msg": "audit_event", "audit_id": audit_id, "type": "mcp_tool_call",
            "logged_at": stamp(at), "outcome": "success", "component": suite,
            "source": {"type": "network", "value": "192.0.2.20", "extra": {"user_agent": "agentdojo/0.1 (benchmark)"}},
            "subjects": {"user": person.title(), "user_id": f"user-{person}", "client_name": self.agent(suite)},
            "delegation": {"chain": [{"iss": ISSUER, "sub": self.agent(suite)}], "truncated": False, "omitted": 0, "malformed": False},
            "target": {"endpoint": "/mcp", "method": "tools/call", "type": "tool", "name": tool},
            "metadata": {"extra": {"duration_ms": took // datetime.timedelta(milliseconds=1), "transport": "http", "response_size_bytes": len(text.encode())}},
            "data": {
                "request": {"jsonrpc": "2.0", "id": rpc, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": {
                    "traceparent": f"00-{trace}-{rng.getrandbits(64) | 1:016x}-01", "job_id": self.job(suite, task)}}},
                "response": {"jsonrpc": "2.0", "id": rpc, "result": {"content": [{"type": "text", "text": text[:MAX_RESULT_CHARS]}], "isError": failed}},
            },
        }))
        return f"toolhive:toolhive:audit:{audit_id}"

    def write(self, out):
        (out / "inventory").mkdir(parents=True, exist_ok=True)
        self.records.sort(key=lambda r: r[:2])
        self.labels.sort(key=lambda label: (label["start"], label["session"]))
        (out / "toolhive.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False, default=str) + "\n" for _, _, r in self.records))
        (out / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in self.labels))
        rows = [f"user:user-{person},{zone},,\n" for person, zone in PEOPLE.values()]
        (out / "inventory/identities.csv").write_text("identity,zone,country,peer_group\n" + "".join(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--job", choices=["task", "suite"], default="task", help="what a job is (see above)")
    args = parser.parse_args()
    world = World(args.seed, args.job == "suite")
    world.play()
    world.write(args.out)
    hit = [label for label in world.labels if label["expected"]]
    print(f"benchmark {VERSION}, {world.days()} days: {len(world.records)} records, {len(world.labels)} labelled sessions, "
          f"{len(hit)} of them attacked, {len(world.attacks) - len(hit)} attacks that found no day")


if __name__ == "__main__":
    main()
