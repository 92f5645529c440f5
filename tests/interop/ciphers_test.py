#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every cipher that Debian's kcptun has, in both roles: 2 MB up and down at once beside 50 small streams."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from kcptun_test import MODES, matrix

CIPHERS = ["aes", "aes-128", "aes-192", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor", "sm4",
           "none"]
COMBOS = [dict(crypt=c, ds=10, ps=3, nocomp=False, smuxver=1, mode=MODES[i % 4]) for i, c in enumerate(CIPHERS)]
# Two threads of Debian's kcptun share the scratch of its SM4, and spoil packets of each other's: stock with stock counts
# some percent of InCsumErrors on a clean path too. FEC and retransmission make up for it.
COMBOS[CIPHERS.index("sm4")]["peer_errs"] = 0.5


def test_kcpgate_server_stock_clients():
    return matrix("server", COMBOS, 2 << 20, 50)


def test_kcpgate_client_stock_servers():
    return matrix("client", COMBOS, 2 << 20, 50)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
