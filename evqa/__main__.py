"""`python -m evqa COMMAND` is `evqa COMMAND`."""

from evqa.cli import main

raise SystemExit(main())
