/** How the engine keeps up: one that is strained steps down to a draft for a while. As live/pace.py does. */

const SMOOTHED_S = 1; // over which the load is taken
const QUALITY = "/quality";
const DRAFT = "draft";

/** @typedef {{load_high: number, load_low: number, recover_s: number, late_blocks: number}} Limits */

export class Pace {
  /** @param {Limits} limits @param {string} wanted quality @param {(text: string) => void} complain */
  constructor(limits, wanted, complain) {
    this.limits = limits;
    this.wanted = wanted;
    this.complain = complain;
    this.load = 0;
    this.late = 0; // blocks, one after the other
    this.lately = 0; // the load, smoothed over that time
    this.recover_s = limits.recover_s / 2; // twice as long with each step down
  }

  /**
   * Note what a block took, and care for the load.
   * @param {any} performance @param {number} busy_s @param {boolean} late whether less sound waits than should
   */
  keep(performance, busy_s, late) {
    const { load_high, load_low, late_blocks } = this.limits;
    const block_s = performance.block / performance.rate;
    const load = busy_s / block_s;
    this.load += (load - this.load) * Math.min(1, block_s / SMOOTHED_S);
    this.lately += (load - this.lately) * Math.min(1, block_s / this.recover_s);
    this.late = late ? this.late + 1 : 0;
    const strained = this.load > load_high || this.late > late_blocks;
    if (strained) this.lately = Math.max(this.load, load_high);
    const quality = performance.values[QUALITY];
    if (strained && quality !== DRAFT) {
      performance.change(QUALITY, DRAFT);
      this.recover_s *= 2;
      this.late = 0;
      this.complain("This device is at its limit: the sound is a little rougher for a while.");
    } else if (quality !== this.wanted && this.lately < load_low) performance.change(QUALITY, this.wanted);
  }
}
