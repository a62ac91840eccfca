#!/usr/bin/env python3
"""Writes what lies on topics of Kafka to files, one record a line, for fixtures of tests.

  from_kafka.py FOLDER TOPIC=NAME...      FOLDER/together-NAME.jsonl.gz

Values only, as text; what is gzipped is unpacked. Keys, headers and times are left out: this is no backup.
"""
import gzip
import os
import pathlib
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

consumer = Consumer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "group.id": "from_kafka", "enable.auto.commit": False})
for pair in sys.argv[2:]:
    topic, name = pair.split("=")
    partitions = consumer.list_topics(topic).topics[topic].partitions
    values = []
    for number in partitions:
        end = consumer.get_watermark_offsets(TopicPartition(topic, number))[1]
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
        while end:
            message = consumer.poll(10)
            if message is None or message.error():
                raise SystemExit(f"from_kafka.py: {topic}: {message and message.error()}")
            value = message.value()
            values.append(gzip.decompress(value) if value[:2] == b"\x1f\x8b" else value)
            if message.offset() + 1 >= end:
                break
    with open(pathlib.Path(sys.argv[1]) / f"together-{name}.jsonl.gz", "wb") as file:
        file.write(gzip.compress(b"".join(value.strip() + b"\n" for value in values), 9, mtime=0))
    print(f"{len(values)} records of {topic}")
