"""Runs dl_service with nothing written to its outbox: what logging costs is the difference.

The service has no such mode, on purpose. The patch is made when this module is imported, so that worker processes,
which import their parent's main module again, have it as well.
"""

from __future__ import annotations

import sys

from onsight.db import Outbox


def _forget(self: Outbox, *records: object) -> None:
    del self, records


Outbox.append = _forget  # type: ignore[assignment,method-assign,unused-ignore]

if __name__ == "__main__":
    from services.dl_service.__main__ import main

    sys.exit(main())
