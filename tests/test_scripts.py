"""No text gives a traceback: a small share of the campaign."""

from __future__ import annotations

from itertools import islice

import pytest
from campaign import mutants, outcome


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("seed", range(4))
def test_broken_scripts_end_in_diagnostics(seed: int) -> None:
    for text in islice(mutants(seed), 500):
        assert outcome(text) in ("accepted", "refused"), text
