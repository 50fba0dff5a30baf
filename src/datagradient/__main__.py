"""`python -m datagradient` is the same as the command `datagradient`."""

from datagradient.commands.main import main

raise SystemExit(main())
