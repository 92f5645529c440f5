#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A file's bytes as a source of C, NAME and NAME_n: xdp_bytes.py NAME IN OUT."""
import sys

name, source, target = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
lines = ",\n".join(",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32))
with open(target, "w") as f:
    f.write("extern const unsigned char {0}[];\nextern const unsigned long {0}_n;\n"
            "const unsigned char {0}[] __attribute__((aligned(16))) = {{\n{1}\n}};\n"
            "const unsigned long {0}_n = sizeof({0});\n".format(name, lines))
