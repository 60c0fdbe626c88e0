"""Opens the PostgreSQL lease store, and tells a mistake in region.toml or in the grants from a server that is away.

A server that does not answer may come later: whoever opened the store goes on, and says so. A driver that is not
installed, a text that is no connection string, a role or database that is not there, a grant that is missing: these
stay until somebody mends them, and are an `InputError` that says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenkeel.model.errors import InputError, StoreCorrupt, Unreachable

if TYPE_CHECKING:
    from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore

PLACE = "[fleet] database"
# What a server says of a connection that it will never take; libpq gives no code with it. In another language, or in
# words not listed here, the trouble is told in the server's words, and the connection is tried again.
_SETTLED = (
    ("does not exist", "create the role and the database; docs/how-to/run-a-fleet.md shows how"),
    ("authentication failed", "mend the password, in the file that `passfile` names, say"),
    ("no password supplied", "name a file with the password by `passfile`"),
    ("no pg_hba.conf entry", "let the role in from this machine, in the server's pg_hba.conf"),
    ("is not permitted to log in", "give the role LOGIN"),
)


def opened(dsn: str) -> PostgresLeaseStore:
    """Nothing is connected yet. Raises `InputError` where the driver is missing, or `dsn` is no connection string."""
    try:
        import psycopg  # an extra: only who uses it needs it

        from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore
    except ImportError as error:
        what = f"PostgreSQL's driver is not installed ({error})"
        raise InputError.one(PLACE, what, "pip install 'evenkeel[postgres]', or leave `database` out") from error
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        what = f"no connection string: {str(error).strip()}"
        raise InputError.one(PLACE, what, 'write "host=... dbname=... user=..."') from error
    return PostgresLeaseStore(dsn)


async def check(store: PostgresLeaseStore) -> None:
    """Connect once. Raises `InputError` for what trying again will not mend, `Unreachable` for what it may."""
    import psycopg

    try:
        await store.tenure("")
    except Unreachable as error:
        for words, mend in _SETTLED:
            if words in str(error):
                raise InputError.one(PLACE, str(error), mend) from error
        raise
    except StoreCorrupt as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            mend = "grant the role what docs/how-to/run-a-fleet.md lists"
            raise InputError.one(PLACE, str(error.__cause__).strip().splitlines()[0], mend) from error
        raise
