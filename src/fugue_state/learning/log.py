"""The log of a run's steps: losses as CSV, and everything for TensorBoard if it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from fugue_state.audio import reading
from fugue_state.config import LOG_EVERY_STEPS
from fugue_state.files import output_folder, replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSS_FILE, EVENTS = "losses.csv", "log"
FLUSH_STEPS = 20
PACKAGE = "tensorboard"
MISSING = "note: no TensorBoard log is written; pip install tensorboard, and there will be one"


class Log:
    """Losses, measurements, sheets and sounds of a run, in its folder.

    `columns` names the losses. A run continues from `step`: later losses are dropped, later TensorBoard entries are
    hidden. If TensorBoard is not installed, `say` is called once with a line that says so.
    """

    FILES: ClassVar[tuple[str, ...]] = (LOSS_FILE,)

    def __init__(
        self,
        folder: Path,
        columns: Sequence[str],
        step: int = 0,
        say: Callable[[str], None] = lambda _: None,
        every: int = LOG_EVERY_STEPS,
    ) -> None:
        self._path, self._columns, self._every = folder / LOSS_FILE, columns, every
        self._waiting: list[str] = []
        kept = [line for line in _lines(self._path) if int(line.partition(",")[0]) <= step]
        with replacing(self._path) as beside:
            beside.write_text("\n".join([",".join(["step", *columns, "seconds"]), *kept]) + "\n", encoding="utf-8")
        self._events: SummaryWriter | None = None
        if find_spec(PACKAGE) is None:
            say(MISSING)
            return
        from torch.utils.tensorboard import SummaryWriter

        self._events = SummaryWriter(output_folder(folder / EVENTS), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()

    def losses(self, step: int, losses: Mapping[str, float], elapsed_s: float) -> None:
        """Log the losses of a step; they are written to the file several steps at a time."""
        values = (f"{losses[name]:.5f}" for name in self._columns)
        self._waiting.append(",".join([str(step), *values, f"{elapsed_s:.1f}"]))
        if len(self._waiting) >= FLUSH_STEPS:
            self.flush()
        if step % self._every == 0:
            self._scalars("loss", step, losses)

    def flush(self) -> None:
        """Write the losses that are buffered."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self._waiting)
        self._waiting.clear()

    def measures(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the measurements of the memory at a step."""
        self._scalars("measure", step, figures)

    def preview(self, step: int, sheet: Path, sound: Path) -> None:
        """Log the sheet (PNG) and the sound of a step."""
        if self._events is None:
            return
        from PIL import Image

        with Image.open(sheet) as image:
            self._events.add_image("sheet", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        samples, rate = reading.read(sound)
        self._events.add_audio("sound", samples[None], step, rate)

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name}", value, step)


def steps_logged(folder: Path) -> int:
    """Return the last step logged by the run in a folder."""
    lines = _lines(folder / LOSS_FILE)
    return int(lines[-1].partition(",")[0]) if lines else 0


def _lines(path: Path) -> list[str]:
    """Return the lines of a CSV of losses, without a last line left incomplete by a killed process."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
    return [line for line in lines if line.count(",") == head.count(",") and line.partition(",")[0].isdecimal()]
