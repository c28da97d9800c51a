"""`python -m fuzz`."""

from __future__ import annotations

import argparse
import json
import sys
import time

import fuzz

from . import files, more, osc, sockets, songs
from .running import Kind, Outcome, Tally, in_a_process, outcomes
from .stage import RefusedError

KINDS = {
    "sounds": Kind(3000, files.sound_files),
    "checkpoints": Kind(1500, files.checkpoints),
    "scores": Kind(3000, files.scores),
    "songs": Kind(3000, songs.songs),
    "side-files": Kind(500, more.side_files),
    "provenance": Kind(1500, more.made),
    "takes": Kind(1500, more.left_takes),
    "folders": Kind(500, more.folders),
    "sockets": Kind(2500, sockets.sockets, (RefusedError,), logs=True),
    "osc": Kind(2500, osc.osc, (RefusedError,), logs=True),
}


def main() -> int:
    """Try the kinds that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=fuzz.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="may be given several times")
    parser.add_argument("--count", type=int, help="inputs of each kind; each has a default of its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one input, tried here; of an error all is shown")
    options = parser.parse_args()
    failed = 0
    for name in options.kind or KINDS:
        kind, tally, begin = KINDS[name], Tally(name, options.seed), time.monotonic()
        if options.only is not None:
            for told in outcomes(name, kind, options.seed, [options.only], watched=True):
                print(told.trace or told if isinstance(told, Outcome) else told)
            continue
        for outcome in in_a_process(name, kind, options.seed, range(options.count or kind.count)):
            tally.add(outcome)
        print(json.dumps(tally.told() | {"seconds": round(time.monotonic() - begin, 1)}), flush=True)
        failed += tally.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
