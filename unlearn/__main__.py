"""The command `unlearn` as `python -m unlearn`."""

from unlearn.services.command import main

raise SystemExit(main())
