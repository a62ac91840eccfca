#!/usr/bin/env python3
"""A small real MCP server (the official Python SDK) with made-up records, for together.sh: one tool that works, one that
answers with a tool error, one with a JSON-RPC error, and two that policies refuse. It writes spans like any server that
has OpenTelemetry switched on. It is no load test and keeps nothing.
"""
import sys

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

server = MCPServer("records", version="1.0.0")
PATIENTS = [{"id": n, "diagnosis": ("I10", "E11.9", "F32.1")[n % 3]} for n in range(1, 301)]


@server.tool()
def search_patients(diagnosis: str, limit: int = 5) -> list[dict]:
    """Find patients by diagnosis code."""
    return [p for p in PATIENTS if p["diagnosis"] == diagnosis][:limit]


@server.tool()
def delete_patient(id: int) -> CallToolResult:
    """Refuses always, as a tool does: with an answer that says so."""
    return CallToolResult(is_error=True, content=[TextContent(type="text", text=f"patient {id} is under legal hold")])


@server.tool()
def charge(id: int, amount: float) -> str:
    """Fails always, as a server does: with a JSON-RPC error."""
    raise MCPError(code=-32042, message="upstream ledger unavailable", data={"patient": id, "amount": amount})


@server.tool()
def export_patients(fmt: str = "csv") -> str:
    """Export everything."""
    return f"{len(PATIENTS)} rows as {fmt}"


@server.tool()
def send_mail(recipient: str, body: str) -> str:
    """Queue a message."""
    return f"queued for {recipient}: {len(body)} characters"


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
