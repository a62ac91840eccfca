#!/usr/bin/env python3
"""Carries to Kafka what the peers that have no Kafka output of their own wrote, bytes unchanged.

  to_kafka.py lines TOPIC FILE...            the lines of files, one record each
  to_kafka.py opa TOPIC PORT                 OPA's decision-log service: each upload (a gzipped JSON array) is one record
  to_kafka.py keycloak TOPIC URL REALM       all saved events of a realm, read from the admin API (KEYCLOAK_ADMIN_PASSWORD)

KAFKA_BOOTSTRAP names the broker. `lines` and `keycloak` read what is there and stop; a real deployment has an agent that
follows the file, or a listener in the server. Nothing here keeps a position.
"""
import http.server
import json
import os
import signal
import sys
import threading
import urllib.parse
import urllib.request

from confluent_kafka import Producer


class Topic:
    def __init__(self, name: str):
        self.name, self.failed = name, []
        self.producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "enable.idempotence": True,
                                  "message.max.bytes": 32 << 20, "linger.ms": 5})

    def send(self, value: bytes, key: str | None = None, headers: list | None = None, **more) -> None:
        self.producer.produce(self.name, value=value, key=key, headers=headers or [],
                              on_delivery=lambda error, _: error and self.failed.append(str(error)), **more)
        self.producer.poll(0)

    def settle(self) -> None:
        """Returns when Kafka has all of it, else raises."""
        if self.producer.flush(30) or self.failed:
            raise SystemExit(f"to_kafka.py: Kafka did not take all of {self.name}: {self.failed[:1]}")


def lines(topic: Topic, files: list[str]) -> None:
    count = 0
    for file in files:
        with open(file, "rb") as source:
            for line in source:
                topic.send(line.rstrip(b"\n"))
                count += 1
    topic.settle()
    print(f"{count} records to {topic.name}")


def opa(topic: Topic, port: int) -> None:
    one_at_a_time = threading.Lock()

    class Uploads(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = [(n, self.headers[n].encode()) for n in ("content-type", "content-encoding") if n in self.headers]
            with one_at_a_time:
                topic.send(body, headers=kept)
                topic.settle()
            self.send_response(204)
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Uploads)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


def pieces(text: str):
    """Each element of a JSON array as (value, its text as the server wrote it)."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while True:
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "]":
            return
        value, end = decoder.raw_decode(text, at)
        yield value, text[at:end]
        at = end


def keycloak(topic: Topic, url: str, realm: str) -> None:
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin",
            "password": os.environ["KEYCLOAK_ADMIN_PASSWORD"]}
    with urllib.request.urlopen(f"{url}/realms/master/protocol/openid-connect/token", urllib.parse.urlencode(form).encode()) as answer:
        token = json.load(answer)["access_token"]
    count, page = 0, 100
    while True:
        query = urllib.parse.urlencode({"first": count, "max": page, "direction": "asc"})
        request = urllib.request.Request(f"{url}/admin/realms/{realm}/events?{query}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            found = list(pieces(answer.read().decode()))
        for event, text in found:
            topic.send(text.encode(), key=event["id"], timestamp=event["time"])
        count += len(found)
        if len(found) < page:
            break
    topic.settle()
    print(f"{count} records to {topic.name}")


if __name__ == "__main__":
    what, topic, *rest = sys.argv[1:]
    to = Topic(topic)
    {"lines": lambda: lines(to, rest), "opa": lambda: opa(to, int(rest[0])), "keycloak": lambda: keycloak(to, *rest)}[what]()
