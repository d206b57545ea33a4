"""Frames between a supervisor, its children and the client: two big-endian u32 lengths, a JSON header, a payload."""

import json
import os
import struct

CHUNK = 256 * 1024
LENGTHS = struct.Struct(">II")
MAX_FRAME = 64 * 1024 * 1024


def encode(header, payload=b""):
    head = json.dumps(header).encode()
    return LENGTHS.pack(len(head), len(payload)) + head + payload


class Parser:
    """Cuts a byte stream into frames."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        self.buffer += data
        while len(self.buffer) >= LENGTHS.size:
            head, body = LENGTHS.unpack_from(self.buffer)
            if head + body > MAX_FRAME:
                raise ValueError("frame too long")
            end = LENGTHS.size + head + body
            if len(self.buffer) < end:
                return
            header = json.loads(bytes(self.buffer[LENGTHS.size : LENGTHS.size + head]))
            payload = bytes(self.buffer[LENGTHS.size + head : end])
            del self.buffer[:end]
            yield header, payload


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
