"""`python -m rbee.queen`."""

from rbee.queen.main import main

raise SystemExit(main())
