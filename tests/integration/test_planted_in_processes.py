"""Faults planted in the clock, the watchdog, the child, the driver and the store's own hand: each is found by its test.

Each such test runs in a process of its own, on a copy of the source that has the fault. Those that start sites take
seconds each, and are part of `make chaos`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planted import Fault, run_with

CLOCK, RUNNER, STORE = "failover/clock.py", "failover/runner.py", "failover/store.py"
WATCHDOG, CHILD, HANDLE = (f"failover/process/{name}.py" for name in ("watchdog", "child", "handle"))
WATCHDOGS, CHILDREN = "integration/test_failover_watchdog.py::", "integration/test_failover_child.py::"
SCRIBE, SCRIBES = "failover/scribe.py", "unit/test_failover_scribe.py::"
STORES, RUNNERS = "integration/test_failover_store.py::", "integration/test_failover_runner.py::"
GUARDIANS = "integration/test_failover_guardian.py::"
TIME = WATCHDOGS + "test_time_is_that_of_the_clock_that_counts_suspends"

FAULTS = [
    # the clock
    Fault(
        "time that stands still in a suspend",
        CLOCK,
        "clock_gettime_ns(time.CLOCK_BOOTTIME)",
        "clock_gettime_ns(time.CLOCK_MONOTONIC)",
        TIME,
    ),
    Fault(
        "an alarm that stands still in a suspend",
        CLOCK,
        "timerfd_create(time.CLOCK_BOOTTIME,",
        "timerfd_create(time.CLOCK_MONOTONIC,",
        TIME,
    ),
    Fault(
        "an alarm that counts from when it was set",
        CLOCK,
        "_TFD_TIMER_ABSTIME = 1",
        "_TFD_TIMER_ABSTIME = 0",
        GUARDIANS + "test_a_process_is_killed_at_the_deadline_even_if_it_is_paused",
    ),
    # the watchdog
    Fault(
        "what may not run is started",
        WATCHDOG,
        "boottime_ms() >= self._deadline:  # also",
        "False:  # also",
        WATCHDOGS + "test_nothing_is_started_when_nothing_may_run[0]",
    ),
    Fault(
        "a spawn that comes late is obeyed",
        WATCHDOG,
        "boottime_ms() >= self._deadline:  # also",
        "self._deadline == 0:  # also",
        WATCHDOGS + "test_nothing_is_started_when_nothing_may_run[past]",
    ),
    Fault(
        "a stopped program is not woken up",
        WATCHDOG,
        "                os.killpg(pid, signal.SIGCONT)",
        "                pass",
        WATCHDOGS + "test_a_stopped_program_is_woken_up_to_obey",
    ),
    Fault(
        "a watchdog is born without the deadline",
        WATCHDOG,
        "        self._set(deadline)\n",
        "        self._set(0)\n",
        WATCHDOGS + "test_a_new_watchdog_is_born_with_the_deadline",
    ),
    Fault(
        "a watchdog does not strike",
        WATCHDOG,
        "            if self._deadline and boottime_ms() >= self._deadline:\n",
        "            if False:\n",
        GUARDIANS + "test_a_process_is_killed_at_the_deadline_even_if_it_is_paused",
    ),
    Fault(
        "a deadline that was moved is not heard of",
        WATCHDOG,
        "            self._set(int(name))\n",
        "            self._set(self._deadline or int(name))\n",
        GUARDIANS + "test_a_deadline_that_is_moved_or_taken_back_does_not_kill",
    ),
    Fault(
        "a watchdog whose starter is gone does nothing",
        WATCHDOG,
        "        if self._programs is not None or self._deadline:\n",
        "        if self._programs is not None:\n",
        GUARDIANS + "test_a_process_is_killed_when_the_guardians_parent_is_gone",
    ),
    Fault(
        "a program is not tied to its watchdog",
        WATCHDOG,
        "        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)\n",
        "",
        WATCHDOGS + "test_without_a_namespace_the_program_itself_is_tied_to_its_watchdog",
    ),
    Fault(
        "the rest of a process group is cut off",
        WATCHDOG,
        "not (self._stopping and _group_lives(self._running[MAIN]))",
        "True",
        CHILDREN + "test_a_stop_lets_the_whole_process_group_finish",
    ),
    # the child
    Fault(
        "failures of a health check add up",
        CHILD,
        "failures = 0 if self._well else failures + 1",
        "failures += 0 if self._well else 1",
        WATCHDOGS + "test_only_failures_in_a_row_make_a_leader_unhealthy",
    ),
    Fault(
        "a stop leaves no margin for the kill",
        CHILD,
        "max(0.0, stop_s - min(1.0, 0.2 * stop_s))",
        "stop_s",
        "unit/test_failover_process.py::test_a_stop_leaves_time_for_the_kill",
    ),
    Fault(
        "a program that ends is started for ever",
        CHILD,
        "if crashes > self._options.restarts:",
        "if False:",
        CHILDREN + "test_a_program_that_ends_is_started_again_and_at_last_the_lead_is_given_up",
    ),
    Fault(
        "the watchdog in its predecessor's place knows no deadline",
        HANDLE,
        "            self.close()\n            self._process, self._socket = _start(deadline,",
        "            self.close()\n            self._process, self._socket = _start(None,",
        GUARDIANS + "test_a_killed_guardian_is_replaced_at_once_and_knows_the_deadline",
    ),
    # the scribe: what the simulator's mutants of it do not plant
    Fault(
        "announcements of what is known are taken",
        SCRIBE,
        "and seen.record.seq > known.record.seq:",
        "and True:",
        SCRIBES + "test_what_is_announced_late_or_twice_changes_nothing",
    ),
    Fault(
        "an announcement without a record is passed over",
        SCRIBE,
        "seen.server != known.server:\n            self._in_touch = False",
        "seen.server != known.server:\n            pass",
        SCRIBES + "test_an_announcement_without_a_record_makes_the_next_thing_a_read",
    ),
    Fault(
        "the time is taken after sending",
        SCRIBE,
        "            now + self._offset,\n",
        "            now + self._offset + self._lag,\n",
        SCRIBES + "test_the_record_s_time_never_runs_ahead_of_a_clock_however_late_answers_come",
    ),
    Fault(
        "a re-read moves the first sight",
        "failover/view.py",
        "        if self.n != n or self.owner != owner:",
        "        if True:",
        SCRIBES + "test_a_standby_counts_from_when_it_first_saw_a_renewal",
    ),
    Fault(
        "one's own grant is not known again",
        SCRIBE,
        "if lock is None or lock.owner != self._config.owner:\n            return None",
        "if True:\n            return None",
        SCRIBES + "test_a_grant_whose_answer_was_lost_is_found_and_counts_from_when_it_was_worked_out",
    ),
    Fault(
        "one's own swap is not known again",
        SCRIBE,
        "            and record.n == ours.n\n",
        "            and record.n != ours.n\n",
        SCRIBES + "test_the_record_s_time_never_runs_ahead_of_a_clock_however_late_answers_come",
    ),
    # the driver, and the store's own hand
    Fault(
        "a renewal does not reach the watchdog",
        RUNNER,
        "        self._guard(action.deadline)\n        self._lease.extend",
        "        self._lease.extend",
        GUARDIANS + "test_a_pause_shorter_than_the_lease_is_forgiven",
    ),
    Fault(
        "a grant does not reach the watchdog",
        RUNNER,
        "        self._guard(action.deadline)\n        self._lease = Lease(",
        "        self._lease = Lease(",
        CHILDREN + "test_a_program_can_say_that_trying_again_cannot_help",
    ),
    Fault(
        "a lease that ended does not end for the workload",
        RUNNER,
        "            self._lease.end()\n",
        "",
        RUNNERS + "test_a_leader_whose_store_hangs_is_out_before_its_lease_ends",
    ),
    Fault(
        "a workload's end is not told",
        RUNNER,
        "        self._feed(messages.WorkloadEnded(ended.reason, ended.fatal))\n",
        "        del ended\n",
        RUNNERS + "test_a_failing_workload_gives_the_lead_away",
    ),
    Fault(
        "changes are not looked at",
        RUNNER,
        "        if due is not None and boottime_ms() + due < state.next_at:\n",
        "        if False:\n",
        RUNNERS + "test_one_site_leads_and_the_other_takes_over_at_once_after_a_clean_stop",
    ),
    Fault(
        "an older request goes on beside a newer one",
        STORE,
        "while self._wanted is request:",
        "while True:",
        STORES + "test_a_newer_request_ends_an_older_one",
    ),
    Fault(
        "what follows a failure is not a read",
        STORE,
        "            self._scribe.failed()\n",
        "",
        STORES + "test_after_a_failure_a_site_reads_first",
    ),
    Fault(
        "another's record is taken for one's own",
        STORE,
        "        if version.record == text:\n",
        "        if True:\n",
        STORES + "test_a_site_that_has_not_heard_of_a_grant_is_refused",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    if fault.found_by.startswith("integration/") and fault.found_by != TIME and "RECTBOT_SEEDS" not in os.environ:
        pytest.skip("it starts sites: see 'make chaos'")
    done = run_with(fault, tmp_path)
    assert done.returncode == 1, f"survived, or could not be tried: {done.stdout[-2_000:]}{done.stderr[-1_000:]}"
    assert "FAILED" in done.stdout, done.stdout[-2_000:]
    assert not any(word in done.stdout for word in ("ModuleNotFoundError", "SyntaxError", "NameError")), done.stdout
    print(next((line for line in reversed(done.stdout.splitlines()) if "FAILED" in line), ""))
