"""Read an offline W&B run: a header, LevelDB's log framing, and protobuf records."""

import json
import struct
import zlib

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
FULL, LAST = 1, 4


def records(path):
    data, position, body = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        checksum, size, kind = struct.unpack("<IHB", data[position : position + 7])
        piece = data[position + 7 : position + 7 + size]
        position += 7 + size
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) & 0xFFFFFFFF == checksum
        body += piece
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(body)
            body = b""
            yield record


def load(path):
    found = {"history": [], "summary": {}, "step_metrics": {}, "summarized": {}, "artifacts": {}, "run": {}}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = {"id": record.run.run_id, "name": record.run.display_name}
        elif kind == "history":
            found["history"].append(values(record.history.item))
        elif kind == "summary":
            found["summary"] |= values(record.summary.update)
        elif kind == "artifact":
            found["artifacts"][record.artifact.name] = record.artifact
        elif kind == "metric" and record.metric.step_metric:
            found["step_metrics"][record.metric.name or record.metric.glob_name] = record.metric.step_metric
            ways = [field.name for field, _ in record.metric.summary.ListFields()]
            found["summarized"] |= dict.fromkeys([record.metric.name], ways) if ways else {}
    return found


def contents(artifact):
    """The files of an artifact: where each lies, or what it refers to."""
    return {entry.path: entry.ref or entry.local_path for entry in artifact.manifest.contents}


def values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
