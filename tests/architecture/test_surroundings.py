"""What a user has set in the environment decides nothing in a test."""

from __future__ import annotations

import os

from ordering.entrypoints.settings import CONFIG, OPTIONS
from tests.services.surroundings import OTHERS, OURS, clear, composed


def test_every_setting_of_ours_is_forgotten() -> None:
    """Also one that comes with a new release: by the beginning of its name."""
    names = {CONFIG, *(option.name for option in OPTIONS.values())}
    environ = dict.fromkeys(names, "set by the user") | {"PGHOST": "x", "FORCE_COLOR": "1", "HOME": "/home/me"}
    clear(environ, ours=True)
    assert environ == {"HOME": "/home/me", "no_proxy": environ["no_proxy"], "NO_PROXY": environ["NO_PROXY"]}


def test_what_says_where_the_parts_are_stays_where_others_have_started_them() -> None:
    """And so does the user's own PostgreSQL, and a proxy, but not for this machine."""
    given = {"DATABASE_URL": "a", "PG_BIN": "b", "https_proxy": "c"}
    environ = {**given, "no_proxy": "near.example", "PGPASSWORD": "d"}
    clear(environ, ours=False)
    assert environ == {**given, "no_proxy": "127.0.0.1,localhost,near.example", "NO_PROXY": "127.0.0.1,localhost"}


def test_this_run_knows_nothing_of_the_users() -> None:
    """Nor does any process that it starts."""
    names = OTHERS if composed() else (*OURS, *OTHERS)
    assert [name for name in os.environ if name.startswith(names) and name != "PG_BIN"] == []
    assert os.environ["no_proxy"].startswith("127.0.0.1,")
