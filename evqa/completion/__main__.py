"""Print a script that completes commands, groups, options and keys with Tab: `evqa completion bash`.

The words are in the script, so that no Python is started for a Tab.
"""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from evqa.cli import Flags, command, commands, load

ABOUT = """\
Print a script that completes commands, flags, groups, options, keys with Tab.

For every new shell:
  bash   evqa completion bash > ~/.evqa.bash
         echo 'source ~/.evqa.bash' >> ~/.bashrc
  zsh    evqa completion zsh > ~/.evqa.zsh
         echo 'source ~/.evqa.zsh' >> ~/.zshrc    # below compinit
  fish   evqa completion fish > ~/.config/fish/completions/evqa.fish

For this shell alone:
  bash   eval "$(evqa completion bash)"
  zsh    eval "$(evqa completion zsh)"
  fish   evqa completion fish | source

The words are in the script: make it again after an update.
It completes 'evqa train ...', not 'python -m evqa.train ...'.
"""


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    from evqa.completion.script import Shell

    flags = Flags(prog="evqa completion", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("shell", choices=get_args(Shell), help="the shell that reads the script")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Print the script."""
    flags = parser().parse_args(arguments)
    from evqa.completion.script import script
    from evqa.completion.words import vocabulary
    from evqa.config.application import Application
    from evqa.config.flags import flag_parser

    modules = {name: load(name) for name in commands()}
    configured = tuple(name for name, module in modules.items() if isinstance(module.main, Application))
    parsers = {name: flag_parser() if name in configured else module.parser() for name, module in modules.items()}
    for one in parsers.values():
        if isinstance(one, Flags):
            one.add_common()
    sys.stdout.write(script(vocabulary(parsers, configured=configured), flags.shell))


if __name__ == "__main__":
    main()
