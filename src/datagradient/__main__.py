"""`python -m datagradient` is the same as the command `datagradient`."""

from datagradient.cli import main

raise SystemExit(main())
