"""What is counted in the record's time: the login budget of all sites, and the losses of the lead that damp one.

Pure, as rules.py is, whose part it is. No safety hangs on it: that time may run a little slow.
"""

from __future__ import annotations

from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Logins
from rectbot.failover.record import Losses, Record
from rectbot.failover.view import View

# --- the login budget: a leaky bucket. Each login fills it by `login_ms`; it holds `login_burst` of them, and empties
# with time. So any 24 hours see at most login_burst + 24 h / login_ms logins.


def _owed(config: FailoverConfig, record: Record, t: int) -> int:
    return max(0, min(record.owed_until - t, config.login_burst * config.login_ms))


def logins_left(config: FailoverConfig, record: Record, t: int) -> int:
    return (config.login_burst * config.login_ms - _owed(config, record, t)) // config.login_ms


def next_login_in(config: FailoverConfig, record: Record, t: int) -> int:
    """Milliseconds until the budget allows one."""
    return max(0, _owed(config, record, t) - (config.login_burst - 1) * config.login_ms)


def spend_logins(config: FailoverConfig, record: Record, count: int, left: int | None, view: View) -> None:
    if not count and left is None:
        return
    full = config.login_burst * config.login_ms
    debt = _owed(config, record, view.t) + count * config.login_ms
    if left is not None:
        debt = max(debt, full - max(0, left) * config.login_ms)
    record.owed_until = view.t + min(debt, full)
    if count:
        record.count("login", config.site, count)


def told_logins(config: FailoverConfig, record: Record, logins: Logins) -> int:
    """How many of this process are entered."""
    beat = record.beats.get(config.site)
    return beat.logins if beat is not None and beat.owner == config.owner else logins.told


def count_logins(config: FailoverConfig, record: Record, logins: Logins, view: View) -> None:
    """Enters those that are not entered yet."""
    told = told_logins(config, record, logins)
    spend_logins(config, record, max(0, logins.count - told), logins.left, view)
    beat = record.beats.get(config.site)
    if logins.count > told and beat is not None and beat.owner == config.owner:
        record.beats[config.site] = beat._replace(logins=logins.count)


# --- damping: from its second loss of the lead on, a site leaves it to others for longer and longer. It is all
# forgotten once a site has lost nothing for twice the longest of these times.


def losses_of(config: FailoverConfig, record: Record, site: str, t: int) -> int:
    losses = record.losses.get(site)
    return losses.times if losses is not None and losses.at <= t <= losses.at + 2 * config.damping_max_ms else 0


def damped_for(config: FailoverConfig, record: Record, site: str, t: int) -> int:
    """Milliseconds."""
    if not record.losses or (losses := losses_of(config, record, site, t)) < 2:
        return 0
    damping = min(config.damping_ms << min(losses - 2, 30), config.damping_max_ms)
    return max(0, record.losses[site].at + damping - t)


def count_loss(config: FailoverConfig, record: Record, who: tuple[str, str], view: View) -> None:
    site = who[0]
    losses = losses_of(config, record, site, view.t) + 1
    record.losses[site] = Losses(losses, view.t)
    if (pause := damped_for(config, record, site, view.t)) > 0:
        why = f"{losses} losses: leaves the lead to others for {pause // 1000} s"
        record.enter("damped", who, why)
