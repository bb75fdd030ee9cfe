"""The command: `python -m logstore`; others may add it to theirs, as `rectbot logs serve` does.

The server is imported when it is needed: whoever only wants the help need not wait for it.
"""

from __future__ import annotations

from pathlib import Path

import click

from foundation.command import Duration


@click.command("serve")
@click.option("--data", required=True, type=click.Path(path_type=Path, file_okay=False), help="The store's folder.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="What it listens on.")
@click.option("--port", type=click.IntRange(1, 65535), default=3100, show_default=True)
@click.option("--retention", default=0, show_default=True, type=Duration(0), help="Such as 14d; 0 keeps all.")
@click.option(
    "--retention-mb", default=4096, show_default=True, type=click.IntRange(1), help="How much is kept, compressed."
)
@click.option(
    "--query-timeout", default=60, show_default=True, type=Duration(), help="A query that takes longer is ended."
)
@click.option(
    "--client-rate",
    default=1.0,
    show_default=True,
    type=float,
    help="MB/s that one client may push in the long run; 0: no bound.",
)
@click.option(
    "--client-burst",
    default=256.0,
    show_default=True,
    type=float,
    help="MB that it may push at once after a silence; then the answer is 429.",
)
@click.option(
    "--name", "names", multiple=True, help="A name with a dot by which it may be asked, too. Several are allowed."
)
def serve(
    data: Path,
    host: str,
    port: int,
    *,
    retention: float,
    retention_mb: int,
    query_timeout: float,
    client_rate: float,
    client_burst: float,
    names: tuple[str, ...],
) -> None:
    """Serve the embedded log store: Loki's API for pushes and queries.

    A request must name it by an address, as localhost, by a name without a dot, or by a --name: so no website can
    have its own name point to it.
    """
    if client_rate < 0 or client_burst < 1:
        raise click.UsageError("--client-rate and --client-burst are MB: give 0 or more, and 1 or more")
    from foundation.webguard import Guard
    from logstore.server import app
    from logstore.store.limits import Limits

    limits = Limits(
        retention_seconds=retention,
        retention_bytes=retention_mb << 20,
        query_seconds=query_timeout,
        client_bytes_per_second=client_rate * (1 << 20),
        client_burst_bytes=client_burst * (1 << 20),
    )
    app.serve(data, host, port, limits, Guard(frozenset(name.lower() for name in names)))
