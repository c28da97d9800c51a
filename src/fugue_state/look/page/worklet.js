/**
 * Plays the stream at the device's own rate: a ring that the feed fills, a band-limited resampler that slowly follows
 * drift, short fades around missing sound, and a loop of the last sound while the server is gone.
 */

const CAPACITY = 1 << 17; // frames of the ring; played sound stays in it until overwritten
const LOOP = 1 << 16; // frames of the loop that plays while the server is gone
const CROSS = 1 << 13; // frames over which the loop fades into itself, and sound into the loop and back
const TAPS = 32;
const PHASES = 128;
const FADE_S = 0.001;
const HUSH_S = 0.5; // length of the fade of a hushed loop
const CUSHION_S = 0.06; // seconds of sound in the ring before playing starts
const LONGEST_CUSHION_S = 0.4;
const EXCESS_S = 0.12; // what exceeds the cushion by more than this is skipped
const DRIFT = 0.002; // most change of speed, to follow the server's clock
const CALM_S = 10; // so long without an underrun, and the cushion shrinks a little
const SILENCE = 1e-5; // an underrun in sound below this level is inaudible and not counted
const REPORT = 12; // quanta between two reports

/**
 * Windowed sincs, one row for each fraction of a frame, and one more for interpolation.
 * @param {number} cutoff as a share of half the stream's rate
 */
function kernels(cutoff) {
  const table = new Float32Array((PHASES + 1) * TAPS);
  for (let phase = 0; phase <= PHASES; phase++) {
    for (let tap = 0; tap < TAPS; tap++) {
      const x = tap - (TAPS / 2 - 1) - phase / PHASES;
      const window = Math.cos((Math.PI * x) / TAPS) ** 2;
      const sinc = x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x);
      table[phase * TAPS + tap] = sinc * window;
    }
  }
  return table;
}

/** A buffer that is played: its samples, reading position and gain. */
class Voice {
  /** @param {number} frames a power of two */
  constructor(frames) {
    this.sides = [new Float32Array(frames), new Float32Array(frames)];
    this.mask = frames - 1;
    this.at = 0;
    this.gain = 0;
    this.change = 0;
  }

  /** @param {0 | 1} gain @param {number} frames of the output, of the fade */
  fade(gain, frames) {
    this.change = (gain ? 1 : -1) / Math.max(1, frames);
  }

  get silent() {
    return this.gain === 0 && this.change <= 0;
  }

  /**
   * Add to the output, advancing by `step` per sample.
   * @param {Float32Array[]} out @param {number} step @param {Float32Array} table
   */
  play(out, step, table) {
    const [ringLeft, ringRight] = this.sides;
    const [left, right] = out;
    for (let i = 0; i < left.length && !this.silent; i++) {
      const whole = Math.floor(this.at);
      const phase = (this.at - whole) * PHASES;
      const row = Math.floor(phase);
      const part = phase - row;
      const first = whole - (TAPS / 2 - 1);
      let l = 0;
      let r = 0;
      for (let tap = 0, k = row * TAPS; tap < TAPS; tap++, k++) {
        const weight = table[k] + part * (table[k + TAPS] - table[k]);
        const place = (first + tap) & this.mask;
        l += weight * ringLeft[place];
        r += weight * ringRight[place];
      }
      this.gain = Math.min(1, Math.max(0, this.gain + this.change));
      left[i] += this.gain * l;
      right[i] += this.gain * r;
      this.at += step;
    }
  }
}

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.live = new Voice(CAPACITY);
    this.loop = new Voice(LOOP);
    this.playing = false;
    this.gone = false; // until the loop has been left again
    this.lost = false; // until the first block after that
    this.written = 0;
    /** The places in the ring at which the count of samples jumps: after a gap, or in another stream. */
    this.marks = [{ at: 0, first: 0 }];
    this.underruns = 0;
    this.cushion = CUSHION_S;
    this.calm = 0;
    this.quanta = 0;
    this.setRate(sampleRate);
    this.port.onmessage = ({ data }) => {
      if (data.hush) this.loop.fade(0, HUSH_S * sampleRate);
      else this.listen(data.feed);
    };
  }

  /** @param {MessagePort} feed */
  listen(feed) {
    this.feed = feed;
    feed.onmessage = ({ data }) => this.hear(data);
  }

  /** @param {number} rate of the stream, in samples a second */
  setRate(rate) {
    this.rate = rate;
    this.smooth = this.cushion * rate;
    // At the device's own rate the kernel filters nothing.
    const cutoff = rate === sampleRate ? 1 : 0.93 * Math.min(1, sampleRate / rate);
    this.table = kernels(cutoff);
  }

  get fill() {
    return this.written - this.live.at;
  }

  /** @param {{gone?: boolean, first?: number, rate?: number, samples?: Float32Array}} message from the feed */
  hear(message) {
    if (message.gone) this.hold();
    else this.write(message);
  }

  /** Put a block into the ring. */
  write({ first, rate, samples }) {
    if (rate !== this.rate) this.setRate(rate);
    const [left, right] = this.live.sides;
    const mask = this.live.mask;
    if (this.lost) this.live.at = this.written;
    this.lost = false;
    const frames = samples.length / 2;
    // A sleeping device plays nothing, so drop the oldest sound.
    if (this.fill + frames > CAPACITY - LOOP - CROSS) this.live.at += frames;
    const last = this.marks[this.marks.length - 1];
    if (first !== last.first + this.written - last.at) {
      this.marks.push({ at: this.written, first });
      this.splice(samples);
    }
    for (let i = 0; i < frames; i++) {
      const place = (this.written + i) & mask;
      left[place] = samples[2 * i];
      right[place] = samples[2 * i + 1];
    }
    this.written += frames;
  }

  /** Fade between the end of the ring and a block that does not follow it in the stream. */
  splice(samples) {
    const frames = Math.ceil(FADE_S * this.rate);
    for (let i = 0; i < frames; i++) {
      const gain = i / frames;
      const before = (this.written - 1 - i) & this.live.mask;
      for (const side of this.live.sides) side[before] *= gain;
      samples[2 * i] *= gain;
      samples[2 * i + 1] *= gain;
    }
  }

  /** The server is gone: play a loop of the last sound, which fades into itself. */
  hold() {
    if (this.gone) return;
    this.gone = true;
    this.lost = true;
    const end = this.written;
    for (const [side, ring] of this.live.sides.entries()) {
      const loop = this.loop.sides[side];
      for (let i = 0; i < LOOP; i++) {
        const place = end - LOOP + i;
        const t = Math.max(0, (i - (LOOP - CROSS)) / CROSS) * (Math.PI / 2);
        loop[i] = Math.cos(t) * ring[place & this.live.mask];
        if (t) loop[i] += Math.sin(t) * ring[(place - LOOP) & this.live.mask];
      }
    }
    this.loop.at = LOOP - (this.playing ? this.fill : 0);
    const left = this.playing ? this.fill - TAPS : CROSS;
    const frames = Math.max(FADE_S * sampleRate, (Math.min(CROSS, left) * sampleRate) / this.rate);
    this.live.fade(0, frames);
    this.loop.fade(1, frames);
    this.playing = false;
  }

  /** Start, stop or continue, depending on how much the ring holds. */
  decide(need) {
    const short = FADE_S * sampleRate;
    if (this.playing && this.fill < need) {
      this.playing = false;
      this.live.fade(0, short);
      if (this.loudness() < SILENCE) return;
      this.underruns += 1;
      this.calm = 0;
      this.cushion = Math.min(LONGEST_CUSHION_S, 1.25 * this.cushion);
    } else if (!this.playing && this.live.silent && this.fill >= Math.max(need, this.cushion * this.rate)) {
      this.playing = true;
      this.smooth = this.cushion * this.rate;
      const frames = this.gone ? CROSS : short;
      this.live.fade(1, frames);
      this.loop.fade(0, frames);
      this.gone = false;
    }
  }

  /** Return the peak of the last samples played. */
  loudness() {
    let peak = 0;
    for (let i = 0; i < 256; i++) {
      peak = Math.max(peak, Math.abs(this.live.sides[0][(Math.floor(this.live.at) - i) & this.live.mask]));
    }
    return peak;
  }

  /** Return the step per output sample that keeps the cushion at its size. */
  pace(frames) {
    this.smooth += (this.fill - this.smooth) * (frames / (2 * sampleRate));
    const wanted = this.cushion * this.rate;
    const error = this.playing ? this.smooth / wanted - 1 : 0;
    return (this.rate / sampleRate) * (1 + Math.max(-DRIFT, Math.min(DRIFT, DRIFT * error)));
  }

  /** Skip the excess with a cross-fade of one quantum. */
  skip(out, step) {
    const extra = Math.floor(this.fill - this.cushion * this.rate);
    const old = Object.assign(new Voice(1), this.live);
    old.gain = 1;
    old.fade(0, out[0].length);
    old.play(out, step, this.table);
    this.live.at += extra;
    this.live.gain = 0;
    this.live.fade(1, out[0].length);
    this.smooth = this.cushion * this.rate;
  }

  process(_inputs, [out]) {
    const frames = out[0].length;
    const step = this.pace(frames);
    this.decide(frames * step + TAPS + FADE_S * this.rate);
    if (this.playing && this.smooth > (this.cushion + EXCESS_S) * this.rate) this.skip(out, step);
    this.live.play(out, step, this.table);
    this.loop.play(out, this.rate / sampleRate, this.table);
    this.calm += frames / sampleRate;
    if (this.calm > CALM_S) {
      this.calm = 0;
      this.cushion = Math.max(CUSHION_S, 0.9 * this.cushion);
    }
    this.quanta += 1;
    if (this.quanta % REPORT === 0) this.report(frames);
    return true;
  }

  /** Tell the page what is heard, and the feed how much was played and shall wait. */
  report(frames) {
    while (this.marks.length > 1 && this.marks[1].at <= this.live.at) this.marks.shift();
    const [mark] = this.marks;
    this.port.postMessage({
      sample: this.playing ? mark.first + this.live.at - mark.at : null,
      rate: this.rate,
      time: currentTime + frames / sampleRate,
      cushion_ms: 1000 * this.cushion,
      underruns: this.underruns,
      holding: this.gone,
    });
    this.feed?.postMessage({ played: this.live.at, cushion: this.cushion * this.rate });
  }
}

registerProcessor("player", Player);
