"""Pickles as Python 2 wrote them, and as numpy's arrays are in them."""

import struct


def python2(value):
    """A pickle of protocol 2 as by the faster pickler of Python 2: places count from 1."""
    places = iter(range(1, 1 << 20))

    def put():
        place = next(places)
        return b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def old_text(raw):
        if len(raw) < 256:
            return b"U" + bytes([len(raw)]) + raw + put()
        return b"T" + struct.pack("<I", len(raw)) + raw + put()

    def number(n):
        return b"K" + bytes([n]) if n < 256 else b"J" + struct.pack("<i", n)

    def one(v):
        match v:
            case dict():
                begin = b"}" + put() + b"("
                return begin + b"".join(one(k.encode()) + one(v[k]) for k in v) + b"u"
            case list():
                return b"]" + put() + b"(" + b"".join(map(one, v)) + b"e"
            case str():
                return old_text(v.encode())
            case bytes():
                return old_text(v)
            case int():
                return number(v)
        out = b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put()
        out += b"K\x00\x85" + old_text(b"b") + b"\x87" + put() + b"R" + put()
        out += b"(K\x01" + b"".join(map(number, v.shape)) + (b"\x85", b"\x86")[v.ndim - 1] + put()
        kind = v.dtype.str[1:].encode()
        out += (
            b"cnumpy\ndtype\n" + put() + old_text(kind) + b"K\x00K\x01\x87" + put() + b"R" + put()
        )
        order = v.dtype.str[:1].encode()
        out += b"(K\x03" + old_text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t" + put()
        column_major = v.flags.f_contiguous and not v.flags.c_contiguous
        raw = v.tobytes(order="F" if column_major else "C")
        return (
            out
            + b"b"
            + (b"\x88" if column_major else b"\x89")
            + old_text(raw)
            + b"t"
            + put()
            + b"b"
        )

    return b"\x80\x02" + one(value) + b"."
