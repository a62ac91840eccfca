#!/usr/bin/env python3
"""One agent at work for people, through all the peers of peers.sh, and the truth about it.

  drive.py --base PORT --otlp PORT --out TRUTH.jsonl [--seed S]

Alice and Bob sign in at Keycloak (code flow, PKCE); the agent exchanges their tokens for ones that name it as the actor.
Then it works for them in four jobs side by side, three of them Alice's, each with a token, a trace and MCP sessions of its
own. Before each call it asks Cerbos and OPA, as a policy enforcement point does, and calls only what both allow. Every
request carries the W3C trace context, and in half of the jobs a request id. Half of them use the client of the MCP SDK as
it is, which hangs up once it has its answer: ToolHive then loses audit records. The others read every answer to its end.
Which records are lost is chance, and is read from the audit files afterwards.

Each act is one line of the truth: who, for whom, with which token, what was asked, who refused, what came back. The same
seed gives the same acts. It is a scenario, no load test.
"""
import argparse
import asyncio
import base64
import contextlib
import hashlib
import html
import json
import random
import re
import secrets
import time
import urllib.parse
from dataclasses import dataclass, field

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import Implementation
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

AGENT = "research-agent"
BACK = "http://127.0.0.1:8765/callback"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
tracer = trace.get_tracer("drive")

# Each with: whether answers are read to their end, and whether requests carry an id.
JOBS = [("alice-1", "alice", True, True), ("alice-2", "alice", False, True), ("alice-3", "alice", True, False), ("bob-1", "bob", False, False)]
# What is done in every job, in an order that the seed decides. Who refuses it is known beforehand, and how it ends.
# Some tools are called often, with both answers of a policy close together.
ACTS = [
    *[("records", "search_patients", {"diagnosis": d, "limit": 3}, None, "success") for d in ("I10", "E11.9", "F32.1", "I10")],
    *[("records", "charge", {"id": n, "amount": 12.5}, None, "error") for n in (1, 2, 3)],
    *[("records", "charge", {"id": n, "amount": 900}, "opa", None) for n in (4, 5, 6)],
    *[("records", "delete_patient", {"id": n}, None, "failure") for n in (7, 8)],
    *[("records", "export_patients", {"fmt": f}, "cerbos", None) for f in ("csv", "xml")],
    *[("records", "send_mail", {"recipient": r, "body": "Q3"}, "gateway", "denied") for r in ("a@example.test", "b@example.test")],
    *[("everything", "echo", {"message": m}, None, "success") for m in ("one", "two", "three")],
    *[("everything", "get-sum", {"a": a, "b": 40}, None, "success") for a in (1, 2)],
    ("everything", "get-sum", {"a": "no number"}, None, "failure"),
]


class Keycloak:
    def __init__(self, url: str):
        self.base, self.cookies = f"{url}/realms/together/protocol/openid-connect", {}

    def sign_in(self, user: str) -> str:
        """A person's own token, as a desktop application gets it."""
        self.cookies.clear()  # kept by hand: they say Secure, and this server speaks plain HTTP

        def keep(response) -> None:
            self.cookies.update(h.split(";")[0].split("=", 1) for h in response.headers.get_list("set-cookie"))

        def send(request) -> None:
            request.headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())

        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with httpx.Client(event_hooks={"response": [keep], "request": [send]}, timeout=30) as http:
            page = http.get(self.base + "/auth", params={
                "client_id": "mcp-host", "response_type": "code", "redirect_uri": BACK, "scope": "openid", "state": "s",
                "code_challenge": challenge, "code_challenge_method": "S256"})
            form = html.unescape(re.search(r'action="([^"]+)"', page.text).group(1))
            answer = http.post(form, data={"username": user, "password": f"{user}-pw-1"})
            code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)["code"][0]
            answer = http.post(self.base + "/token", data={"grant_type": "authorization_code", "client_id": "mcp-host",
                                                           "code": code, "redirect_uri": BACK, "code_verifier": verifier})
            return answer.raise_for_status().json()["access_token"]

    def delegate(self, token: str) -> str:
        """The token with which the agent acts for that person at the gateway (RFC 8693)."""
        form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TOKEN_TYPE, "audience": "mcp-gateway"}
        answer = httpx.post(self.base + "/token", data=form, auth=(AGENT, f"{AGENT}-secret"), timeout=30)
        if answer.status_code != 200:
            raise SystemExit(f"drive.py: the token was not exchanged: {answer.text}")
        return answer.json()["access_token"]


def claims(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


@dataclass
class Job:
    name: str
    token: str
    reads_to_the_end: bool
    has_request_ids: bool
    span: trace.Span
    acts: list
    claims: dict = field(default_factory=dict)
    sessions: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)  # of the act that is under way

    async def connect(self, stack: contextlib.AsyncExitStack, server: str, url: str) -> None:
        async def stamp(request) -> None:
            request.headers.update(self.headers)

        async def whole(response) -> None:
            if self.reads_to_the_end and response.request.method == "POST":
                await response.aread()

        http = await stack.enter_async_context(httpx2.AsyncClient(
            headers={"authorization": f"Bearer {self.token}", "user-agent": f"{AGENT}/1.0"}, timeout=60,
            event_hooks={"request": [stamp], "response": [whole]}))
        transport = streamable_http_client(url, http_client=http)
        self.sessions[server] = await stack.enter_async_context(
            Client(transport, mode="legacy", client_info=Implementation(name=AGENT, version="1.0"), cache=None))


class Decisions:
    def __init__(self, cerbos: str, opa: str):
        self.cerbos_url, self.opa_url, self.http = cerbos, opa, httpx.AsyncClient(timeout=30)

    async def cerbos(self, job: Job, server: str, tool: str, arguments: dict) -> tuple[bool, str]:
        ask = {"principal": {"id": AGENT, "roles": ["agent"], "attr": {"agent_id": AGENT, "delegating_user": job.claims["sub"]}},
               "resources": [{"resource": {"kind": "mcp:tool", "id": f"{server}/{tool}", "attr": {"server": server, "arguments": arguments}},
                              "actions": ["call"]}],
               "auxData": {"jwt": {"token": job.token, "keySetId": "keycloak"}}}
        answer = (await self.http.post(self.cerbos_url, json=ask, headers=job.headers)).raise_for_status().json()
        return answer["results"][0]["actions"]["call"] == "EFFECT_ALLOW", answer["cerbosCallId"]

    async def opa(self, job: Job, server: str, tool: str, arguments: dict) -> tuple[bool, str]:
        ask = {"input": {"method": "call", "server": server, "tool": tool, "arguments": arguments, "agent": {"id": AGENT},
                         "user": {"id": job.claims["sub"]}, "jti": job.claims["jti"]}}
        answer = (await self.http.post(self.opa_url, json=ask, headers=job.headers)).raise_for_status().json()
        return answer["result"]["allow"], answer["decision_id"]


async def call(client: Client, tool: str, arguments: dict) -> str:
    """How the call ended, as the agent saw it."""
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError:
        return "error"
    return "failure" if result.is_error else "success"


async def act(job: Job, number: int, decisions: Decisions, truth) -> None:
    server, tool, arguments, refused_by, outcome = job.acts[number]
    with tracer.start_as_current_span(f"act {tool}", context=trace.set_span_in_context(job.span)) as span:
        job.headers = {"x-request-id": f"{job.name}-{number}"} if job.has_request_ids else {}
        propagate.inject(job.headers)
        at = time.time()
        cerbos, cerbos_call = await decisions.cerbos(job, server, tool, arguments)
        opa, opa_decision = await decisions.opa(job, server, tool, arguments)
        saw = await call(job.sessions[server], tool, arguments) if cerbos and opa else None
    # What the agent saw is part of the truth only if it is what was planned.
    refused = "cerbos" if not cerbos else "opa" if not opa else "gateway" if outcome == "denied" else None
    if refused != refused_by or saw != ("error" if outcome == "denied" else outcome):
        raise SystemExit(f"drive.py: {tool} {arguments}: planned {refused_by}, {outcome}; came {refused}, {saw}")
    truth.write(json.dumps({
        "act": f"{job.name}-{number}", "at": round(at, 6), "request_id": job.headers.get("x-request-id"), "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}", "user": job.claims["preferred_username"], "user_id": job.claims["sub"],
        "agent": job.claims["act"]["sub"], "jti": job.claims["jti"], "server": server, "tool": tool, "refused_by": refused_by,
        "outcome": outcome, "cerbos_call": cerbos_call, "opa_decision": opa_decision, "reads_to_the_end": job.reads_to_the_end,
    }) + "\n")


async def run(args) -> None:
    at = lambda offset: f"http://127.0.0.1:{args.base + offset}"  # noqa: E731: the ports of lib.sh
    keycloak, dice = Keycloak(at(0)), random.Random(args.seed)
    decisions = Decisions(at(1) + "/api/check/resources", at(3) + "/v1/data/mcp/tools/decision")
    jobs = []
    for name, user, reads_to_the_end, has_request_ids in JOBS:
        token = keycloak.delegate(keycloak.sign_in(user))
        job = Job(name, token, reads_to_the_end, has_request_ids, tracer.start_span(f"job {name}"), dice.sample(ACTS, len(ACTS)))
        job.claims = claims(token)
        jobs.append(job)
    with open(args.out, "w") as truth:
        async with contextlib.AsyncExitStack() as stack:
            for job in jobs:
                await job.connect(stack, "records", at(8) + "/mcp")
                await job.connect(stack, "everything", at(9) + "/mcp")
            for number in range(len(ACTS)):
                for job in jobs:
                    await act(job, number, decisions, truth)
        for job in jobs:
            job.span.end()
    print(f"{len(jobs) * len(ACTS)} acts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=int, required=True, help="the first port of the peers")
    parser.add_argument("--otlp", type=int, required=True, help="port of the collector")
    parser.add_argument("--out", required=True, help="file of the truth")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    provider = TracerProvider(resource=Resource.create({"service.name": AGENT}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{args.otlp}/v1/traces")))
    trace.set_tracer_provider(provider)
    asyncio.run(run(args))
    provider.shutdown()
