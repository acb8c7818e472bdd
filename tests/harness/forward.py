"""A Forward peer of our own: frames of every mode as the protocol describes them, written by msgpack, and acks read."""

import gzip
import hashlib
import socket
import ssl
import struct
from dataclasses import dataclass

import msgpack
import zstandard


@dataclass(frozen=True)
class Time:
    """An EventTime."""

    seconds: int
    nanos: int = 0

    def __str__(self):
        import datetime

        moment = datetime.datetime.fromtimestamp(self.seconds, datetime.timezone.utc)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{self.nanos:09d}Z"


def pack(value):
    return msgpack.packb(value, default=_default, use_bin_type=True, unicode_errors="surrogateescape")


def _default(value):
    if isinstance(value, Time):
        # fixext8, type 0: what Docker's driver writes.
        return msgpack.ExtType(0, struct.pack(">II", value.seconds, value.nanos))
    raise TypeError(value)


def message(tag, time, record, option={}):
    """Message mode; Docker's driver always ends with an empty option map."""
    return pack([tag, time, record] if option is None else [tag, time, record, option])


def forward(tag, entries, option=None):
    return pack([tag, [list(e) for e in entries]] + ([option] if option is not None else []))


def packed(tag, entries, option=None, as_str=False):
    return _packed(tag, b"".join(pack(list(e)) for e in entries), option, as_str)


def compressed(tag, entries, kind, option=None, as_str=False):
    raw = b"".join(pack(list(e)) for e in entries)
    body = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}[kind](raw)
    return _packed(tag, body, {**(option or {}), "compressed": kind}, as_str)


def _packed(tag, body, option, as_str):
    # fluentd writes the stream as a str32, whatever its bytes are.
    entries = b"\xdb" + struct.pack(">I", len(body)) + body if as_str else pack(body)
    array = b"\x92" if option is None else b"\x93"
    return array + pack(tag) + entries + (b"" if option is None else pack(option))


def sha512(*parts):
    whole = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha512(whole).hexdigest()


class Peer:
    """A connection to `unix:///path`, `tcp://host:port` or `tls://host:port`, with `tls` as its SSL context."""

    def __init__(self, address, timeout=60, tls=None):
        scheme, rest = address.split("://", 1)
        if scheme == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            target = rest
        else:
            self.socket = socket.socket(socket.AF_INET)
            host, port = rest.rsplit(":", 1)
            target = (host, int(port))
        self.socket.settimeout(timeout)
        self.socket.connect(target)
        if scheme == "tls":
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.unpacker = msgpack.Unpacker(raw=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def answer(self):
        """The next msgpack value from the router."""
        while True:
            for answer in self.unpacker:
                return answer
            data = self.socket.recv(65536)
            assert data, "the router closed the connection before it answered"
            self.unpacker.feed(data)

    def ack(self):
        """The next ack's token, as bytes."""
        answer = self.answer()
        assert list(answer) == [b"ack"], answer
        return answer[b"ack"]

    def shake(self, key, user="", password="", hostname="peer", behind=b""):
        """The handshake, to its PONG: whether the router lets the peer in, and its reason if not. `behind` follows the
        PING at once."""
        helo, options = self.answer()
        assert helo == b"HELO", helo
        nonce, auth = options[b"nonce"], options[b"auth"]
        # Fluent Bit's salt is no text.
        salt = bytes(range(128, 144))
        user_digest = sha512(auth, user, password) if auth else ""
        self.send(
            b"\x96" + pack("PING") + pack(hostname) + b"\xb0" + salt
            + pack(sha512(salt, hostname, nonce, key)) + pack(user) + pack(user_digest) + behind
        )
        pong, welcome, reason, router, digest = self.answer()
        assert pong == b"PONG", pong
        if welcome:
            assert digest.decode() == sha512(salt, router, nonce, key), "the router does not know the key"
        return welcome, reason.decode()

    def closed_by_router(self):
        """Waits until the router ends the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionResetError, ssl.SSLError):
            pass
        return True

    def close(self):
        self.socket.close()
