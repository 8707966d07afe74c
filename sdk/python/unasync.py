"""Writes ngx_sandbox/_sync from ngx_sandbox/_async: the same code without
async and await.  ``--check`` says whether that was done."""

import re
import sys
from pathlib import Path

TOP = Path(__file__).parent / "ngx_sandbox"

RULES = [
    (r"import asyncio\n", "import threading\n"),
    (r"asyncio\.Lock\(\)", "threading.Lock()"),
    (r"await asyncio\.sleep\(", "time.sleep("),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsyncBaseTransport\b", "BaseTransport"),
    (r"httpx\.AsyncClient\b", "httpx.Client"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsync(Client|Operations|Process|Sandbox|Session)\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(close|read|iter_raw)\(", r"\1("),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
]


def convert(text: str, name: str) -> str:
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)

    if name == "client.py":
        text = text.replace("import threading\n", "")

    return f"# Written by unasync.py from _async/{name}.\n{text}" if text \
        else text


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []

    for source in sorted((TOP / "_async").glob("*.py")):
        target = TOP / "_sync" / source.name
        text = convert(source.read_text(), source.name)

        if check:
            if not target.exists() or target.read_text() != text:
                stale.append(target.name)
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)

    for name in stale:
        print(f"ngx_sandbox/_sync/{name} is not what unasync.py writes")

    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
