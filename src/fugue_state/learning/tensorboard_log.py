"""What is seen of a run in TensorBoard, where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from fugue_state.audio import io, reading
from fugue_state.config import LOG_EVERY_STEPS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PACKAGE = "tensorboard"
MISSING = "note: no TensorBoard log is written; pip install tensorboard, and there will be one"


class TensorBoardLog:
    """Losses, measures, sheets and sounds of a run as TensorBoard events; does nothing without the package.

    `folder` gets the events; those of later steps than `from_step`, where a run goes on, are hidden.
    `say` is told in one line if TensorBoard is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        from_step: int = 0,
        every: int = LOG_EVERY_STEPS,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._every = every
        self._writer: SummaryWriter | None = None
        if find_spec(PACKAGE) is None:
            say(MISSING)
            return
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(io.output_folder(folder), purge_step=from_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def losses(self, step: int, losses: Mapping[str, float]) -> None:
        """Log the losses of every step that is a multiple of `every`."""
        if step % self._every == 0:
            self._scalars("loss", step, losses)

    def measures(self, step: int, figures: Mapping[str, float]) -> None:
        """Log what was measured of the memory of a step."""
        self._scalars("measure", step, figures)

    def preview(self, step: int, sheet: Path, sound: Path) -> None:
        """Log the sheet (PNG) and the sound of a step."""
        if self._writer is None:
            return
        from PIL import Image

        with Image.open(sheet) as image:
            self._writer.add_image("sheet", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        samples, rate = reading.read(sound)
        self._writer.add_audio("sound", torch.from_numpy(samples)[None], step, rate)

    def close(self) -> None:
        """Write what is left to write."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
