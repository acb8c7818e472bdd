"""S3 in small: objects as files in a directory, so that whoever reads them back needs no server.

Every write is remembered by its bytes. The same bytes again under one key are a repeat; others under one key are
`overwritten`, and the first stay. `If-None-Match: *` is honoured for both ways to make an object. It is strict where S3
is: parts, their tags, their sizes and order, uploads that are over.
"""

import base64
import binascii
import hashlib
import os
import re
import struct
import urllib.parse
import zlib
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

from harness.rules import MIN_PART, Refused, check_body

# Taken from the request that makes an object, told by HeadObject.
KEPT = re.compile(r"x-amz-meta-.*|content-type")


class S3:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.objects = {}  # (bucket, key) -> {"etag", "size", "digest", "headers"}
        self.uploads = {}  # id -> {"name", "headers", "parts": {number: (etag, bytes)}}
        self.serial = 0
        self.counts = Counter(writes=0, repeats=0, precondition_failed=0, multipart_objects=0)
        self.overwritten = []

    def report(self):
        open_parts = sum(len(upload["parts"]) for upload in self.uploads.values())
        return {
            "objects": len(self.objects), "open_uploads": len(self.uploads), "open_parts": open_parts,
            "overwritten": self.overwritten, **self.counts,
        }

    def call(self, api, path, query, headers, body):
        """Status, headers, body of the answer."""
        check_body(headers, body)
        bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
        if len(key.encode()) > 1024:
            raise Refused("KeyTooLongError", "Your key is too long")
        if api == "" or not hasattr(self, api):
            raise Refused("NotImplemented", f"{api or 'this call'} is not implemented", 501)
        return getattr(self, api)((bucket, key), query, headers, body)

    def PutObject(self, name, query, headers, body):
        etag = self._store(name, headers, body, f'"{hashlib.md5(body).hexdigest()}"')
        return 200, {"etag": etag}, b""

    def HeadObject(self, name, query, headers, body):
        found = self._found(name)
        return 200, {**found["headers"], "etag": found["etag"], "content-length": str(found["size"])}, b""

    def GetObject(self, name, query, headers, body):
        found = self._found(name)
        return 200, {**found["headers"], "etag": found["etag"]}, self._path(name).read_bytes()

    def CreateMultipartUpload(self, name, query, headers, body):
        self.serial += 1
        upload = f"upload-{self.serial}"
        self.uploads[upload] = {"name": name, "headers": headers, "parts": {}}
        bucket, key = map(escape, name)
        return _xml("InitiateMultipartUploadResult", f"<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>")

    def UploadPart(self, name, query, headers, body):
        upload, number = self._upload(name, query), int(query["partNumber"])
        if not 1 <= number <= 10_000:
            raise Refused("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        upload["parts"][number] = (etag, body)
        crc = headers.get("x-amz-checksum-crc32")
        return 200, {"etag": etag} | ({"x-amz-checksum-crc32": crc} if crc else {}), b""

    def CompleteMultipartUpload(self, name, query, headers, body):
        upload = self._upload(name, query)
        named = []
        for part in re.findall(r"<Part>(.*?)</Part>", body.decode(), re.DOTALL):
            number, etag = re.search(r"<PartNumber>(\d+)<", part), re.search(r"<ETag>(.*?)<", part)
            crc = re.search(r"<ChecksumCRC32>(.*?)<", part)
            if not number or not etag:
                raise Refused("MalformedXML", "a part needs a number and an ETag")
            named.append((int(number[1]), etag[1].replace("&quot;", '"').replace("&#34;", '"'), crc and crc[1]))
        numbers = [number for number, _, _ in named]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refused("InvalidPartOrder", "The list of parts was not in ascending order")
        bodies = []
        for number, etag, crc in named:
            kept, data = upload["parts"].get(number, (None, b""))
            if kept is None or kept.strip('"') != etag.strip('"'):
                raise Refused("InvalidPart", "One or more of the specified parts could not be found")
            if crc and crc != base64.b64encode(struct.pack(">I", zlib.crc32(data))).decode():
                raise Refused("InvalidPart", "The checksum of a part is another")
            bodies.append(data)
        if any(len(data) < MIN_PART for data in bodies[:-1]):
            raise Refused("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size")
        tags = b"".join(binascii.unhexlify(etag.strip('"')) for _, etag, _ in named)
        etag = f'"{hashlib.md5(tags).hexdigest()}-{len(bodies)}"'
        kept = {k: v for k, v in upload["headers"].items() if KEPT.fullmatch(k)}
        self._store(name, kept | {k: v for k, v in headers.items() if k == "if-none-match"}, b"".join(bodies), etag)
        del self.uploads[query["uploadId"]]
        self.counts["multipart_objects"] += 1
        bucket, key = map(escape, name)
        return _xml("CompleteMultipartUploadResult", f"<Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>{escape(etag)}</ETag>")

    def AbortMultipartUpload(self, name, query, headers, body):
        self._upload(name, query)
        del self.uploads[query["uploadId"]]
        return 204, {}, b""

    def ListParts(self, name, query, headers, body):
        parts = sorted(self._upload(name, query)["parts"].items())
        rows = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(tag)}</ETag><Size>{len(data)}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified></Part>" for n, (tag, data) in parts
        )
        return _xml("ListPartsResult", f"<UploadId>{query['uploadId']}</UploadId><IsTruncated>false</IsTruncated>{rows}")

    def ListMultipartUploads(self, name, query, headers, body):
        prefix = urllib.parse.unquote(query.get("prefix", ""))
        rows = "".join(
            f"<Upload><Key>{escape(u['name'][1])}</Key><UploadId>{upload}</UploadId>"
            f"<Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>"
            for upload, u in self.uploads.items() if u["name"][0] == name[0] and u["name"][1].startswith(prefix)
        )
        return _xml("ListMultipartUploadsResult", f"<Bucket>{name[0]}</Bucket><IsTruncated>false</IsTruncated>{rows}")

    def _store(self, name, headers, body, etag):
        digest, old = hashlib.sha256(body).hexdigest(), self.objects.get(name)
        if old and headers.get("if-none-match") == "*":
            self.counts["precondition_failed"] += 1
            raise Refused("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
        if old and old["digest"] != digest:
            self.overwritten.append(name[1])
            return etag
        self.counts["repeats" if old else "writes"] += 1
        kept = {k: v for k, v in headers.items() if KEPT.fullmatch(k)}
        self.objects[name] = {"etag": etag, "size": len(body), "digest": digest, "headers": kept}
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.directory / "aside"
        aside.write_bytes(body)
        os.rename(aside, path)
        return etag

    def _path(self, name):
        path = self.directory.joinpath(*name)
        assert path.resolve().is_relative_to(self.directory.resolve()), name
        return path

    def _found(self, name):
        if name not in self.objects:
            raise Refused("NoSuchKey", "The specified key does not exist.", 404)
        return self.objects[name]

    def _upload(self, name, query):
        upload = self.uploads.get(query.get("uploadId"))
        if upload is None or upload["name"] != name:
            raise Refused("NoSuchUpload", "The specified multipart upload does not exist.", 404)
        return upload


def _xml(root, content):
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</{root}>'
    return 200, {"content-type": "application/xml"}, text.encode()
