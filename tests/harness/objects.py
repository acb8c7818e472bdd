"""Objects read back, from a directory or a bucket: their keys, their lines, their records."""

import gzip
import io
import json
from pathlib import Path

import zstandard


def inflate(key, body):
    """The object's text, by the extension of its key."""
    if key.endswith(".zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True)
        return reader.read()
    return gzip.decompress(body) if key.endswith(".gz") else body


def records(key, body):
    """The records of an NDJSON object; duplicate keys, a missing last newline and blank lines are errors."""
    text = inflate(key, body)
    assert text.endswith(b"\n"), f"{key} does not end with a newline"
    return [json.loads(line, object_pairs_hook=_unique) for line in text.decode("utf-8").removesuffix("\n").split("\n")]


def _unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"duplicate keys: {keys}"
    return dict(pairs)


def in_directory(path):
    """Key to bytes; only whole objects may be seen."""
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.exists() else []
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def in_bucket(s3, bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)}


def all_records(objects):
    """The records of all objects, in the order of the keys."""
    return [record for key, body in sorted(objects.items()) for record in records(key, body)]
