from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authz.desk import Host, a_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path) as found:
        yield found
