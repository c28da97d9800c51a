/**
 * MIDI's clock, 24 ticks a beat: another device's is followed as `/tempo`, with start, stop and continue as `/play`; or
 * the page's own is sent to a device.
 */

const TICKS = 24; // a beat
const BEAT_TICKS = [8, 48]; // that a tempo is taken from: at least, at most
const PAUSED_MS = 600; // without a tick, after which counting begins anew
const TOLD_MS = 250; // between two changes of the tempo
const LEAST = 0.004; // share by which it must have changed
const AHEAD_MS = 120; // that ticks are sent before their time
const EVERY_MS = 30;
const [TICK, START, CONTINUE, STOP] = [0xf8, 0xfa, 0xfb, 0xfc];

/** Whether a message is one of MIDI's clock. @param {number} status */
export function isBeat(status) {
  return [TICK, START, CONTINUE, STOP].includes(status);
}

/** Follows a clock that comes in. */
export class BeatIn {
  /** @param {import("./controls.js").Controls} controls */
  constructor(controls) {
    this.controls = controls;
    /** Whether it is followed. */ this.on = false;
    /** @type {number[]} the times of the newest ticks, in ms */ this.ticks = [];
    this.told = -Infinity;
    this.bpm = 0; // that was told last
  }

  /** @param {number} status @param {number} at ms */
  take(status, at) {
    if (!this.on) return;
    if (status === TICK) {
      this.#tick(at);
    } else {
      this.ticks = [];
      this.controls.set("/play", [status === STOP ? 0 : 1], "midi");
    }
  }

  #tick(at) {
    const { ticks } = this;
    if (ticks.length && (at - ticks.at(-1) > PAUSED_MS || at < ticks.at(-1))) ticks.length = 0;
    ticks.push(at);
    if (ticks.length > BEAT_TICKS[1] + 1) ticks.shift();
    const bpm = tempoOf(ticks);
    if (bpm === null || at - this.told < TOLD_MS || Math.abs(bpm / this.bpm - 1) < LEAST) return;
    this.told = at;
    this.bpm = bpm;
    this.controls.set("/tempo", [Math.round(10 * bpm) / 10], "midi");
  }
}

/**
 * The tempo of ticks, a straight line through their times: single ones may come late. Null if they are too few.
 * @param {number[]} ticks ms
 */
export function tempoOf(ticks) {
  const count = ticks.length;
  if (count <= BEAT_TICKS[0]) return null;
  const middle = (count - 1) / 2;
  const mean = ticks.reduce((sum, at) => sum + at, 0) / count;
  let [along, across] = [0, 0];
  for (const [i, at] of ticks.entries()) {
    along += (i - middle) * (at - mean);
    across += (i - middle) ** 2;
  }
  return along > 0 ? 60_000 / ((along / across) * TICKS) : null;
}

/** Sends the page's own clock. */
export class BeatOut {
  /** @param {import("./controls.js").Controls} controls */
  constructor(controls) {
    this.controls = controls;
    /** @type {MIDIOutput | null} */ this.output = null;
    this.next = 0; // ms, of the next tick
    this.goes = false;
    this.begun = false; // whether it was started, so that it goes on
    setInterval(() => this.step(performance.now()), EVERY_MS);
  }

  /** Send it to another output, or to none. @param {MIDIOutput | null} output */
  lead(output) {
    if (output === this.output) return;
    if (this.goes) this.#send([STOP]);
    Object.assign(this, { output, goes: false, begun: false });
  }

  /** Send the ticks that are due soon. @param {number} now ms */
  step(now) {
    const { values } = this.controls;
    const goes = Boolean(this.output && values.get("/play") && !values.get("/freeze"));
    if (goes !== this.goes) {
      this.goes = goes;
      this.next = now;
      this.#send([goes ? (this.begun ? CONTINUE : START) : STOP]);
      this.begun = true;
    }
    const tick_ms = 60_000 / (TICKS * (values.get("/tempo") ?? 120));
    if (this.next < now - AHEAD_MS) this.next = now; // the page slept
    for (; goes && this.next < now + AHEAD_MS; this.next += tick_ms) this.#send([TICK], this.next);
  }

  #send(message, at) {
    try {
      this.output?.send(message, at);
    } catch {
      this.output = null; // unplugged; the browser reports it
    }
  }
}
