"""At most one leader over all sites, whatever fails, and almost always one.

    config = FailoverConfig(site="oci", priority=("xserver", "oci"))
    store = open_store(config, host="127.0.0.1", port=6379, password="...")
    await run(config, store, MyWorkload(), stop=stop_on_signals(), guardian=True)

`MyWorkload` follows the `Workload` protocol: it is started with a `Lease`, whose `check()` raises `LeaseLost` once this
site may no longer act, and is stopped before the lease ends. It calls the lease's `login()` before each login at a
service that counts them, so that all sites together keep within `login_budget`.
"""

from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event, Leader, Site, Snapshot
from rectbot.failover.lease import Lease, LeaseLost, LoginsSpent
from rectbot.failover.runner import WorkloadFailed, run, run_unguarded, stop_on_signals
from rectbot.failover.store import LeaseStore, RedisLeaseStore, StoreUnavailable, open_store
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
    "RedisLeaseStore",
    "Site",
    "Snapshot",
    "StoreUnavailable",
    "Workload",
    "WorkloadFailed",
    "open_store",
    "run",
    "run_unguarded",
    "stop_on_signals",
]
