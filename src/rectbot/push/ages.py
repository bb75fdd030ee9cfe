"""When each job pushed last, and how long ago that may be."""

from __future__ import annotations

from rectbot.push.trial import JOB as TRIAL_JOB
from rectbot.samples import samples

STALE_SECONDS, MISSING_SECONDS = 180, 600
"""The limits of the alerts XserverPushStale and XserverPushMissing."""


def push_times(metrics: str) -> dict[str, float]:
    """Unix time of the last push of each job, from what the Pushgateway tells of itself; without the doctor's trials.

    Of a job with several groups it is the youngest. Raises RectbotError when it cannot be read.
    """
    found: dict[str, float] = {}
    for sample in samples(metrics, "push_time_seconds"):
        job = sample.labels.get("job", "")
        if job != TRIAL_JOB:
            found[job] = max(sample.value, found.get(job, 0.0))
    return found
