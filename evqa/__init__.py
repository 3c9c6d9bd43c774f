"""Predict how engaging a short video is, and how good it looks, with large multimodal models."""

import os
import sys

__version__ = "0.1.0"

if sys.argv and os.path.basename(sys.argv[0]) in ("-m", "evqa"):  # noqa: PTH119  (a command; not imported by a script)
    if not sys.flags.safe_path and sys.argv[0] == "-m" and sys.path[0] != os.path.dirname(__path__[0]):  # noqa: PTH120
        del sys.path[0]  # the current folder, before anything else is imported: beside data may lie a `typing.py`
    from evqa.machine.program import begin

    begin()
