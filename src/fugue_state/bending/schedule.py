"""How much is forgotten when: time within the piece to fraction of the units."""

from __future__ import annotations

import math

from fugue_state.config import ScheduleConfig
from fugue_state.errors import InputError


def fraction_forgotten(schedule: ScheduleConfig, time: float) -> float:
    """Return the fraction forgotten (0..1) at `time` within the piece, 0 its start and 1 its end."""
    if not 0.0 <= time <= 1.0:
        raise InputError(f"time within the piece must be within 0..1, got {time}")
    if schedule.pace == "linear":
        return schedule.to * time
    return schedule.to * min(math.floor(time * (schedule.steps + 1)), schedule.steps) / schedule.steps
