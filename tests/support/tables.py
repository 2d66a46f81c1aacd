"""Tables of cases whose rows are named by sentences, which is what pytest prints."""

from collections.abc import Mapping

import pytest


def table(names: str | tuple[str, ...], rows: Mapping[str, object]) -> pytest.MarkDecorator:
    """Parametrise a test over `rows`: sentence -> the values of `names`, a tuple where there are several names."""
    return pytest.mark.parametrize(names, list(rows.values()), ids=list(rows))
