"""Run every command that stands in a ```bash block of the given Markdown files, from the repository root.

A block is one script: it stops at its first failure, and so does this program. A block that stands in two places runs
once. `.ci/.curlrc` lets a `curl` fail, too, whose answer is an error.
Usage: python .ci/run_documented_commands.py README.md docs/*.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main(pages: list[Path]) -> int:
    """Run the blocks of ``pages``; return 1 at the first that fails or if there is none at all."""
    os.environ["CURL_HOME"] = str(Path(__file__).resolve().parent)
    done: set[str] = set()
    for page in pages:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if block in done:
                continue
            done.add(block)
            print(f"\n--- {page}\n{block}", end="", flush=True)
            start_s = time.monotonic()
            code = subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=False).returncode
            print(f"--- exit {code} after {time.monotonic() - start_s:.1f} s", flush=True)
            if code:
                print(f"error: a command of {page} failed\n  -> mend the command or the page", file=sys.stderr)
                return 1
    print(f"\n{len(done)} documented commands ran")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
