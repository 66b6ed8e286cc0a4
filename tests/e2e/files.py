"""files.py - writes the file formats that programs read, by hand: no library but Python's own."""
import io, json, struct, zipfile, zlib

SIZES = {"u8": (1, "B", "|u1", "U8", 0x08), "i32": (4, "i", "<i4", "I32", 0x0C), "i64": (8, "q", "<i8", "I64", None),
         "f32": (4, "f", "<f4", "F32", 0x0D), "f64": (8, "d", "<f8", "F64", 0x0E),
         "bool": (1, "B", "|b1", "BOOL", None)}


def pack(kind, values, order="<"): return struct.pack(f"{order}{len(values)}{SIZES[kind][1]}", *values)


def idx(kind, shape, values, count=None):
    """count: what the header says of the first dimension, where that is not the truth."""
    dims = [shape[0] if count is None else count, *shape[1:]]
    return bytes([0, 0, SIZES[kind][4], len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + pack(kind, values, ">")


def npy_header(descr, shape, fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''}), }}"
    size = 10 if version == 1 else 12
    text += " " * (63 - (size + len(text)) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode()


def npy(kind, shape, values, **more): return npy_header(SIZES[kind][2], shape, **more) + pack(kind, values)


def npz(arrays, compressed=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as z:
        for name, data in arrays.items(): z.writestr(zipfile.ZipInfo(name + ".npy"), data, z.compression)
    return out.getvalue()


def safetensors(tensors, metadata=None, order=None):
    """tensors: name -> (kind, shape, values)"""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (kind, shape, values) in tensors.items():
        part = pack(kind, values)
        header[name] = {"dtype": SIZES[kind][3], "shape": list(shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def png(rows, colour=False, depth=8):
    """rows: lists of grey values, or of (r, g, b)"""
    def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + bytes([v for p in row for v in p] if colour else row) for row in rows)
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), depth, 2 if colour else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def read_png(data):
    """(width, height, channels, bytes) of a picture with 8 bits a channel; only what nnc's programs write."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I", data[at:at + 4])[0], data[at + 4:at + 8]
        body = data[at + 8:at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0] == zlib.crc32(kind + body), "a spoilt chunk"
        if kind == b"IHDR": width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT": parts += body
        at += 12 + n
    channels = {0: 1, 2: 3}[colour]
    assert depth == 8
    raw, size, rows, before = zlib.decompress(parts), width * channels, [], bytes(width * channels)
    for y in range(height):
        how, row = raw[y * (size + 1)], bytearray(raw[y * (size + 1) + 1:(y + 1) * (size + 1)])
        for i in range(size):
            a, b, c = row[i - channels] if i >= channels else 0, before[i], before[i - channels] if i >= channels else 0
            p = a + b - c
            paeth = a if abs(p - a) <= min(abs(p - b), abs(p - c)) else b if abs(p - b) <= abs(p - c) else c
            row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[how]) & 255
        rows.append(bytes(row))
        before = rows[-1]
    return width, height, channels, b"".join(rows)


def read_npy(data):
    """(descr, shape, values)"""
    assert data[:6] == b"\x93NUMPY"
    n = struct.unpack("<H", data[8:10])[0]
    assert (10 + n) % 64 == 0, "the elements do not begin at a multiple of 64 bytes"
    header = eval(data[10:10 + n], {"__builtins__": {}}, {})  # a Python literal by definition of the format
    letter = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|u1": "B", "|b1": "?"}[header["descr"]]
    body = data[10 + n:]
    assert header["fortran_order"] is False
    return header["descr"], header["shape"], struct.unpack(f"<{len(body) // struct.calcsize('<' + letter)}{letter}", body)
