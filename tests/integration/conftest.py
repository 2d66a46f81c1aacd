"""Marks every test here by its folder, so that a test says what it needs by where it stands."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# A folder that is not here, such as packaging/, needs nothing that every one of its tests needs: they are marked one by one.
MARKERS = {
    "browser": "browser",
    "chart": "chart",
    "cluster": "cluster",
    "engines": "engines",
    "kind": "kind",
    "oracle": "oracle",
    "registry": "registry",
}


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            marker = MARKERS.get(item.path.relative_to(HERE).parts[0])
            if marker is not None:
                item.add_marker(marker)
