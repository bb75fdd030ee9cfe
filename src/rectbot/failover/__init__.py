"""At most one leader over all sites, whatever fails, and almost always one.

A program that `rectbot failover run` has started, as a process of its own for each lease, needs one name:

    lease = await join()

`lease.check()` raises `LeaseLost` once this site may no longer act; `lease.login()` is called before each login at a
service that counts them, so that all sites together keep within `login_budget`.

A workload inside of the process that renews is started with such a lease by `run`, and stopped before it ends:

    config = FailoverConfig(site="oci", priority=("xserver", "oci"))
    store = open_store(config, host="127.0.0.1", port=6379, password="...")
    await run(config, store, MyWorkload(), stop=stop_on_signals(), guardian=True)

`MyWorkload` follows the `Workload` protocol. What it leaves behind (tasks, threads, the state of modules) meets the
next lease: prefer the first way.
"""

TYPE_CHECKING = False  # a watchdog imports us, too, and `typing` costs it half a megabyte

if TYPE_CHECKING:
    from rectbot.failover.config import FailoverConfig
    from rectbot.failover.events import Event, Leader, Site, Snapshot
    from rectbot.failover.lease import Lease, LeaseLost, LoginsSpent
    from rectbot.failover.process.line import join
    from rectbot.failover.runner import WorkloadFailed, run, run_unguarded, stop_on_signals
    from rectbot.failover.store import LeaseStore, StoreUnavailable, open_store
    from rectbot.failover.workload import Ended, Killable, Workload

__all__ = [
    "Ended",
    "Event",
    "FailoverConfig",
    "Killable",
    "Leader",
    "Lease",
    "LeaseLost",
    "LeaseStore",
    "LoginsSpent",
    "Site",
    "Snapshot",
    "StoreUnavailable",
    "Workload",
    "WorkloadFailed",
    "join",
    "open_store",
    "run",
    "run_unguarded",
    "stop_on_signals",
]

_HOMES = {
    "FailoverConfig": "config",
    "Event": "events",
    "Leader": "events",
    "Site": "events",
    "Snapshot": "events",
    "Lease": "lease",
    "LeaseLost": "lease",
    "LoginsSpent": "lease",
    "join": "process.line",
    "WorkloadFailed": "runner",
    "run": "runner",
    "run_unguarded": "runner",
    "stop_on_signals": "runner",
    "LeaseStore": "store",
    "StoreUnavailable": "store",
    "open_store": "store",
    "Ended": "workload",
    "Killable": "workload",
    "Workload": "workload",
}


def __getattr__(name: str) -> object:
    """Imports what is asked for (PEP 562): who reads the settings only must not wait for all that runs a site."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
