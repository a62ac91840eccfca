#!/usr/bin/env python3
"""Answers the few questions that `thv run` asks a container engine before it starts a proxy in front of a remote MCP
server. No container is ever started: the lists are empty and anything else is refused. So the unmodified ToolHive runs
where no engine is.
"""
import json
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

ANSWERS = {"/_ping": "OK", "/containers/json": [], "/networks": [],
           "/version": {"Version": "28.2.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"},
           "/info": {"Version": "28.2.2", "Os": "linux", "Arch": "amd64"}}


class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/v1"):
            path = "/" + path.split("/", 2)[2]
        known = path in ANSWERS
        body = ANSWERS.get(path, {"message": "no such thing: no engine here"})
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(200 if known else 404)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))),
                            ("Api-Version", "1.51"), ("Ostype", "linux")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def address_string(self) -> str:
        return "unix"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(sys.argv[1], Engine).serve_forever()
