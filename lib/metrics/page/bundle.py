#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The status page as one file, as a source of C, and the policy that lets a browser run nothing but what is in it:
bundle.py page.html page.css page.js uPlot.min.css uPlot.iife.min.js LICENSE OUT."""
import base64
import hashlib
import re
import sys


def main():
    *sources, target = sys.argv[1:]
    texts = []
    for path in sources:
        with open(path, encoding="utf-8") as f:
            texts.append(f.read())
    page, css, js, uplot_css, uplot_js, uplot_license = texts
    for name, text in (("UPLOT_CSS", uplot_css), ("CSS", css), ("UPLOT_JS", uplot_js), ("JS", js), ("UPLOT_LICENSE", uplot_license)):
        if "</script" in text or "</style" in text or "-->" in text:
            sys.exit("%s would end its own element" % name)
        page = page.replace("@%s@" % name, text)

    def hashes(tag):
        return " ".join("'sha256-%s'" % base64.b64encode(hashlib.sha256(m.encode()).digest()).decode()
                        for m in re.findall(r"<%s>(.*?)</%s>" % (tag, tag), page, re.S))

    policy = ("default-src 'none'; script-src %s; style-src %s; img-src data:; connect-src 'self'; base-uri 'none'; "
              "form-action 'none'; frame-ancestors 'none'" % (hashes("script"), hashes("style")))
    data = page.encode()
    lines = ",\n".join(",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32))
    with open(target, "w") as f:
        f.write('#include "page.h"\n\nconst unsigned char metrics_page[] = {\n%s\n};\nconst unsigned long metrics_page_n = sizeof(metrics_page);\n'
                'const char metrics_page_policy[] = "%s";\n' % (lines, policy))


main()
