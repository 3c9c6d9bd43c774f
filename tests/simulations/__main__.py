"""Run the simulations of this folder's modules and write their tables into docs/statistics.md.

A module that counts has `tables(times)`, which yields Markdown; the page has a place for it between `<!-- NAME -->` and
`<!-- end of NAME -->`.
"""

import argparse
from importlib import import_module
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/statistics.md"
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if "def tables(" in path.read_text())


def write(name, text):
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    assert found, f"{PAGE} has no place for {name}: {begin}{end}"
    PAGE.write_text(before + begin + text + end + rest.partition(end)[2], encoding="utf-8")


if __name__ == "__main__":
    flags = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__.splitlines()[0])
    flags.add_argument("names", nargs="*", metavar="NAME", help=f"default: all ({', '.join(NAMES)})")
    flags.add_argument("--times", type=int, default=1000, help="how often each case is drawn (default: 1000)")
    given = flags.parse_args()
    for name in given.names or NAMES:
        text = "\n".join(import_module(f"tests.simulations.{name}").tables(given.times))
        print(text)
        write(name, text)
