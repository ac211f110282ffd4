"""What is told of work that takes longer than an answer may."""

from __future__ import annotations

from wiretape.daemon.jobs import Job
from wiretape.model import Lean


class Progress(Lean, frozen=True):
    """How far work is: ``done`` of ``total`` (0: not known), and the same in words."""

    done: int
    total: int
    said: str


class Running(Lean, frozen=True, kw_only=True):
    """An answer that is not there yet. ``next`` is the call that waits for it."""

    status: str
    job: str
    progress: Progress
    next: str


def running(job: Job, said: str, *, asked_by: str) -> Running:
    """Say that a job goes on, and how to ask for it.

    Args:
        job: the job.
        said: how far it is, in words.
        asked_by: the tool to call: the one for jobs, or the same again, which then waits for the same job.
    """
    again = f"{asked_by} job_id={job.number}" if asked_by != job.what else f"{asked_by} with the same arguments again"
    return Running(status="running", job=job.number, progress=Progress(job.done, job.total, said), next=again)
