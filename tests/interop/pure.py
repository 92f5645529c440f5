# SPDX-License-Identifier: MIT
"""The ciphers and permutations of kcptun's wire in plain Python, for a decoder that shares nothing with the gateway.

Written for clarity; fast enough for captures of some hundred kilobytes.
"""
import hashlib
import hmac
import struct
import zlib

M32 = 0xffffffff
IV = bytes.fromhex("a7734f9c12ac1b01a415f2c1fc78e66b")


# ---- AES, encryption only: CFB, CTR and the permutation pads need no more

def _xtime(a):
    return (a << 1) ^ (0x11b if a & 0x80 else 0)


def _make_sbox():
    exp, log, x = [0] * 256, [0] * 256, 1
    for i in range(255):
        exp[i], log[x] = x, i
        x ^= _xtime(x)
    box = []
    for v in range(256):
        b = exp[(255 - log[v]) % 255] if v else 0
        r = 0x63
        for k in range(5):
            r ^= ((b << k) | (b >> (8 - k))) & 255
        box.append(r)
    return box


SBOX = _make_sbox()
# What a byte of the state gives to its column, after substitution: one table for each row.
T0 = [(_xtime(s) & 255) << 24 | s << 16 | s << 8 | ((_xtime(s) ^ s) & 255) for s in SBOX]
T1 = [t >> 8 | (t & 255) << 24 for t in T0]
T2 = [t >> 8 | (t & 255) << 24 for t in T1]
T3 = [t >> 8 | (t & 255) << 24 for t in T2]


def _subword(w):
    return SBOX[w >> 24] << 24 | SBOX[w >> 16 & 255] << 16 | SBOX[w >> 8 & 255] << 8 | SBOX[w & 255]


def aes(key):
    """A function that encrypts one block of 16 bytes."""
    nk = len(key) // 4
    w = list(struct.unpack(">%dI" % nk, key))
    rcon = 1
    for i in range(nk, 4 * (nk + 7)):
        t = w[-1]
        if i % nk == 0:
            t = _subword((t << 8 | t >> 24) & M32) ^ rcon << 24
            rcon = _xtime(rcon) & 255
        elif nk == 8 and i % nk == 4:
            t = _subword(t)
        w.append(w[i - nk] ^ t)
    first, inner, last = w[:4], [w[i:i + 4] for i in range(4, len(w) - 4, 4)], w[-4:]
    k0, k1, k2, k3 = first
    l0, l1, l2, l3 = last
    block, s = struct.Struct(">4I"), SBOX

    def encrypt(b):
        a0, a1, a2, a3 = block.unpack(b)
        a0, a1, a2, a3 = a0 ^ k0, a1 ^ k1, a2 ^ k2, a3 ^ k3
        for r0, r1, r2, r3 in inner:
            a0, a1, a2, a3 = (T0[a0 >> 24] ^ T1[a1 >> 16 & 255] ^ T2[a2 >> 8 & 255] ^ T3[a3 & 255] ^ r0,
                              T0[a1 >> 24] ^ T1[a2 >> 16 & 255] ^ T2[a3 >> 8 & 255] ^ T3[a0 & 255] ^ r1,
                              T0[a2 >> 24] ^ T1[a3 >> 16 & 255] ^ T2[a0 >> 8 & 255] ^ T3[a1 & 255] ^ r2,
                              T0[a3 >> 24] ^ T1[a0 >> 16 & 255] ^ T2[a1 >> 8 & 255] ^ T3[a2 & 255] ^ r3)
        return block.pack(
            (s[a0 >> 24] << 24 | s[a1 >> 16 & 255] << 16 | s[a2 >> 8 & 255] << 8 | s[a3 & 255]) ^ l0,
            (s[a1 >> 24] << 24 | s[a2 >> 16 & 255] << 16 | s[a3 >> 8 & 255] << 8 | s[a0 & 255]) ^ l1,
            (s[a2 >> 24] << 24 | s[a3 >> 16 & 255] << 16 | s[a0 >> 8 & 255] << 8 | s[a1 & 255]) ^ l2,
            (s[a3 >> 24] << 24 | s[a0 >> 16 & 255] << 16 | s[a1 >> 8 & 255] << 8 | s[a2 & 255]) ^ l3)

    return encrypt


def xor(a, b):
    n = min(len(a), len(b))
    return (int.from_bytes(a[:n], "big") ^ int.from_bytes(b[:n], "big")).to_bytes(n, "big")


# ---- what opens a datagram: each returns its payload, or None

def _open_crc(p):
    if p is None or len(p) < 20 or struct.unpack_from("<I", p, 16)[0] != zlib.crc32(p[20:]):
        return None
    return p[20:]


def _cfb(key):
    e = aes(key)
    first = e(IV)

    def decrypt(w):
        stream = first + b"".join(e(w[i:i + 16]) for i in range(0, len(w) - 16, 16))
        return xor(w, stream)
    return decrypt


def _gmul_table(h):
    """For each byte of a GHASH block, by place: the product of it and h."""
    v, by_bit = int.from_bytes(h, "big"), []
    for _ in range(128):
        by_bit.append(v)
        v = v >> 1 ^ (0xe1 << 120 if v & 1 else 0)
    table = []
    for place in range(16):
        row = []
        for byte in range(256):
            r = 0
            for k in range(8):
                if byte & 0x80 >> k:
                    r ^= by_bit[8 * place + k]
            row.append(r)
        table.append(row)
    return table


def _gcm(key):
    e = aes(key)
    table = _gmul_table(e(bytes(16)))

    def decrypt(w):
        if len(w) < 28:
            return None
        nonce, c, tag = w[:12], w[12:-16], w[-16:]
        y = 0
        for i in range(0, len(c), 16):
            x = (y ^ int.from_bytes(c[i:i + 16].ljust(16, b"\0"), "big")).to_bytes(16, "big")
            y = 0
            for place in range(16):
                y ^= table[place][x[place]]
        x = (y ^ 8 * len(c)).to_bytes(16, "big")
        y = 0
        for place in range(16):
            y ^= table[place][x[place]]
        if xor(y.to_bytes(16, "big"), e(nonce + b"\0\0\0\1")) != tag:
            return None
        stream = b"".join(e(nonce + struct.pack(">I", 2 + i)) for i in range((len(c) + 15) // 16))
        return xor(c, stream)
    return decrypt


def derive(passphrase):
    return hashlib.pbkdf2_hmac("sha1", passphrase, b"kcp-go", 4096, 32)


# name: bytes that a datagram grows by
OVERHEAD = {"aes-128-gcm": 28, "null": 0}


def overhead(name):
    return OVERHEAD.get(name, 20)


def opener(name, passphrase):
    """A function from a datagram to its payload, or to None when it is refused."""
    k = derive(passphrase)
    if name == "null":
        return lambda w: w
    if name == "none":
        return _open_crc
    if name == "aes-128-gcm":
        return _gcm(k[:16])
    if name == "xor":
        table = hashlib.pbkdf2_hmac("sha1", k, b"sH3CIVoF#rWLtJo6", 32, 1500)
        return lambda w: _open_crc(xor(w, table))
    cfb = _cfb(k[:{"aes": 32, "aes-192": 24, "aes-128": 16}[name]])
    return lambda w: _open_crc(cfb(w))


# ---- the quantum permutation pad

class Qpp:
    def __init__(self, key, count):
        self.key, self.pads = key, []
        derive_salt = b"___QUANTUM_PERMUTATION_PAD_SEED_DERIVE___"
        shuffle_salt = b"___QUANTUM_PERMUTATION_PAD_SHUFFLE_SALT___"

        def pbkdf2(p, salt, rounds):
            return hashlib.pbkdf2_hmac("sha1", p, salt, rounds, 32)

        seed = key if len(key) >= 32 else pbkdf2(key, derive_salt, 128)
        cyclic = seed * (7 * 32 // len(seed) + 1)
        chunks = [pbkdf2(cyclic[32 * i:32 * i + 32], derive_salt, 1024) for i in range(7)]
        ciphers = [aes(pbkdf2(c, shuffle_salt, 128)) for c in chunks]
        for p in range(count):
            pad = list(range(256))
            h = hmac.new(chunks[p % 7], b"QPP_" + format(p, "b").encode(), "sha256").digest()
            for i in range(255, 0, -1):
                for e in ciphers:
                    h = e(h[:16]) + e(h[16:])
                j = int.from_bytes(h, "big") % (i + 1)
                pad[i], pad[j] = pad[j], pad[i]
            self.pads.append(pad)
        self.back = [bytes(p.index(v) for v in range(256)) for p in self.pads]

    def decrypt(self, data):
        """One direction of one stream, from its start."""
        m64 = (1 << 64) - 1

        def rol(x, k):
            return (x << k | x >> (64 - k)) & m64

        salt = b"___QUANTUM_PERMUTATION_PAD_PRNG_SALT___"
        sel = hmac.new(self.key, b"PERMUTATION_MATRIX_SELECTOR", "sha256").digest()
        s = list(struct.unpack("<4Q", hashlib.pbkdf2_hmac("sha1", sel, salt, 128, 32)))
        out = bytearray()
        for at in range(0, len(data), 8):
            w, t = rol(s[1] * 5 & m64, 7) * 9 & m64, s[1] << 17 & m64
            s[2] ^= s[0]
            s[3] ^= s[1]
            s[1] ^= s[2]
            s[0] ^= s[3]
            s[2] ^= t
            s[3] = rol(s[3], 45)
            pad = self.back[(w & 0xffff) % len(self.back)]
            out += bytes(pad[c] ^ k for c, k in zip(data[at:at + 8], struct.pack("<Q", w)))
        return bytes(out)
