"""`python -m rbee.keeper`."""

from rbee.keeper.main import main

raise SystemExit(main())
