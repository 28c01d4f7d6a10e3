#!/usr/bin/env python3
"""Checks every relative link and anchor in the repository's Markdown files."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent


def anchors(path):
    seen = set()
    for line in re.sub(r"```.*?```", "", path.read_text(), flags=re.S).splitlines():
        if m := re.match(r"#+ +(.*)", line):
            seen.add(re.sub(r"[^\w\- ]", "", m[1].lower()).replace(" ", "-"))
    return seen


bad = checked = 0
for page in sorted(root.rglob("*.md")):
    if any(part in ("testdata", "ankan-demo", "bin") for part in page.parts):
        continue
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        checked += 1
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        if not to.exists() or anchor and anchor not in anchors(to):
            print(f"{page.relative_to(root)}: {target} leads nowhere")
            bad += 1
if checked == 0:
    sys.exit("no links found")
print(f"{checked} links, {bad} bad")
sys.exit(bad > 0)
