"""`python -m felhom_agent` is `felhom-agent`."""

import sys

from felhom_agent.cli.main import main

sys.exit(main())
