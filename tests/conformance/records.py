"""The topic as others read it: a Kafka client with the SDK of CloudEvents, and kcat, against what `ledger replay` prints.

usage: records.py send BOOTSTRAP PREFIX          puts one event, as the SDK writes it, into an inbox; waits for it in the log
       records.py check BOOTSTRAP PREFIX FOLDER  needs FOLDER/replay.jsonl and FOLDER/kcat.jsonl
"""

import json
import sys
from collections import Counter
from datetime import datetime
from itertools import islice
from pathlib import Path

from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from jsonschema import Draft7Validator

from documents import SCHEMAS, read, validator_of

SENT = SCHEMAS / "golden/ledger.payment.captured.v1/1-card-on-a-terminal.json"
TXN_NO = "sent-with-the-sdk"
SECONDS = 60
# What `ledger replay` adds to an event: where and when the log has it.
OF_THE_LOG = {"logpartition", "logoffset", "recordedtime"}


def records(bootstrap, topic):
    """Everything that stands in the topic, and then what comes; None when nothing came for long."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    while record := consumer.poll(SECONDS):
        if record.error():
            sys.exit(f"{topic} at {bootstrap} cannot be read: {record.error()}")
        yield record
    sys.exit(f"{topic} at {bootstrap}: nothing more came for {SECONDS} s")


def send(bootstrap, prefix):
    inbox = f"{prefix}.in.ums-pos"
    event = read(SENT)
    event["data"]["channel_txn_no"] = TXN_NO
    message = kafka.to_binary_event(JSONFormat().read(None, json.dumps(event).encode()))
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(inbox, key=message.key, value=message.value, headers=message.headers)
    if producer.flush(SECONDS):
        sys.exit(f"{inbox} at {bootstrap} does not acknowledge")
    next(record for record in records(bootstrap, f"{prefix}.events") if TXN_NO.encode() in record.value())
    print(f"CloudEvents SDK: what it wrote to {inbox} has come into the log")


def by_position(path, position):
    return {position(line): line for line in map(json.loads, path.open(encoding="utf-8"))}


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def differences(name, ours, theirs):
    if ours != theirs:
        yield f"{name}: ours {ours!r}, theirs {theirs!r}"


def of_record(record, line, shown, headers_and_value):
    """How the record as the tools have it differs from the line that the ledger printed."""
    headers = {name: value.decode() for name, value in record.headers()}
    attributes = {name: value for name, value in line.items() if name not in OF_THE_LOG | {"data"}}
    yield from differences("a header stands twice", len(record.headers()), len(headers))
    yield from differences("time of the log", milliseconds(line["recordedtime"]), record.timestamp()[1])
    yield from differences("kind of time", TIMESTAMP_LOG_APPEND_TIME, record.timestamp()[0])
    yield from differences("key", line["partitionkey"], record.key().decode())
    # As one reads a record, and as one reads a line.
    binary = kafka.from_kafka_event(kafka.KafkaMessage(dict(record.headers()), record.key(), record.value()))
    structured = JSONFormat().read(None, json.dumps(line).encode())
    for mode, event in [("binary", binary), ("structured", structured)]:
        theirs = {name: value for name, value in event.get_attributes().items() if name not in OF_THE_LOG}
        ours = {**attributes, "time": datetime.fromisoformat(attributes["time"])}
        yield from differences(f"attributes, {mode}", ours, theirs)
        yield from differences(f"data, {mode}", line["data"], event.get_data())
    yield from differences("time as text", line["time"], headers["ce_time"])
    # kcat lists names and values in turns.
    yield from differences("headers in kcat", headers, dict(zip(shown["headers"][::2], shown["headers"][1::2])))
    yield from differences("key in kcat", line["partitionkey"], shown["key"])
    yield from differences("value in kcat", record.value().decode(), shown["payload"])
    for error in headers_and_value.iter_errors({"headers": headers, "payload": json.loads(record.value())}):
        yield f"asyncapi.json: {error.json_path}: {error.message}"
    for error in validator_of(line["type"]).iter_errors(line):
        yield f"schemas/json: {error.json_path}: {error.message}"


def check(bootstrap, prefix, folder):
    folder = Path(folder)
    lines = by_position(folder / "replay.jsonl", lambda line: (line["logpartition"], int(line["logoffset"])))
    shown = by_position(folder / "kcat.jsonl", lambda line: (line["partition"], line["offset"]))
    findings = [f"{position}: in one of `ledger replay` and kcat alone" for position in lines.keys() ^ shown.keys()]
    asyncapi = read(SCHEMAS / "asyncapi.json")
    types, sent = Counter(), 0
    for record in islice(records(bootstrap, f"{prefix}.events"), len(shown)):
        position = (record.partition(), record.offset())
        if not (line := lines.get(position)) or position not in shown:
            findings.append(f"{position}: the Kafka client alone has it")
            continue
        message = f"#/components/messages/{line['type']}"
        properties = {part: {"$ref": f"{message}/{part}"} for part in ("headers", "payload")}
        headers_and_value = Draft7Validator({"properties": properties, "components": asyncapi["components"]})
        found = of_record(record, line, shown[position], headers_and_value)
        findings += [f"{position} {line['type']}: {what}" for what in found]
        types[line["type"]] += 1
        sent += line["data"].get("channel_txn_no") == TXN_NO
    if sent != 1:
        findings.append(f"what the SDK wrote to the inbox stands in the log {sent} times")
    missing = {kind.name for kind in (SCHEMAS / "golden").iterdir()} - types.keys()
    findings += [f"there is no {kind} in the log, so nothing is proved about it" for kind in missing]
    print(f"Kafka client, CloudEvents SDK, kcat: {types.total()} records of {len(types)} types, as `ledger replay` has them")
    sys.exit("\n".join(findings) or 0)


if __name__ == "__main__":
    {"send": send, "check": check}[sys.argv[1]](*sys.argv[2:])
