"""Reads the PNG files of a bundle: 8 bit, RGB or grey, not interlaced (PNG specification, section 9)."""

import struct
import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3}


def read(data: bytes) -> np.ndarray:
    """Returns uint8 [height, width, 3]; grey is copied to all three channels."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG file")
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    if depth != 8 or color not in CHANNELS or interlaced:
        raise ValueError("only 8-bit RGB or grey, not interlaced")
    channels = CHANNELS[color]
    rows = _unfilter(zlib.decompress(packed), height, width * channels, channels)
    return np.repeat(rows.reshape(height, width, channels), 3 // channels, axis=2)


def _unfilter(raw: bytes, height: int, row_size: int, step: int) -> np.ndarray:
    rows = np.zeros((height, row_size), np.uint8)
    above = [0] * row_size
    for y in range(height):
        start = y * (row_size + 1)
        kind, row = raw[start], list(raw[start + 1 : start + 1 + row_size])
        for x in range(row_size):
            left = row[x - step] if x >= step else 0
            corner = above[x - step] if x >= step else 0
            row[x] = (row[x] + _predict(kind, left, above[x], corner)) & 255
        rows[y] = above = row
    return rows


def _predict(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:  # Paeth
        estimate = left + up - corner
        return min((left, up, corner), key=lambda value: abs(estimate - value))
    return (0, left, up, (left + up) // 2)[kind]
