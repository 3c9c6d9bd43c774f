"""Commands as the documentation prints them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands(page: str) -> Iterator[list[str]]:
    """Yield the arguments of every `evqa NAME ...` line in the shell blocks of a page; `$D` is what `D="..."` said."""
    variables = {}
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if assigned := re.fullmatch(r'([A-Z]+)="(.*)"', line):
                variables[assigned[1]] = assigned[2]
            elif line.startswith("evqa "):
                text = re.sub(r"\$([A-Z]+)", lambda match: variables[match[1]], line)
                yield shlex.split(text.removeprefix("evqa "), comments=True)
