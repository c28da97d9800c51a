/** The spectrogram that rolls under a playhead; sound that is not heard yet is drawn faintly to its right. */

import { colour, rgb, row } from "./theme.js";

const SHOWN_S = 12;
const HEAD = 0.94; // position of the playhead, as a share of the width
const COLUMNS = 1024; // number of columns kept
const TO_COME = 0.5;
const WIDEST_S = 0.1; // longest time that a column stands for

export class Mel {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.palette = palette();
    this.clear();
    new ResizeObserver(() => {
      canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
      canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    }).observe(canvas);
  }

  /** Clear it, when another stream begins. */
  clear() {
    this.strip = null;
    this.samples = new Float64Array(COLUMNS).fill(-Infinity);
    this.next = 0;
  }

  /** Add a column, lowest band first. @param {Uint8Array} levels @param {number} sample */
  add(levels, sample) {
    if (!this.strip) {
      this.strip = new OffscreenCanvas(COLUMNS, levels.length);
      this.ink = this.strip.getContext("2d");
    }
    const column = this.ink.createImageData(1, levels.length);
    const pixels = new Uint32Array(column.data.buffer);
    for (let band = 0; band < levels.length; band++) pixels[levels.length - 1 - band] = this.palette[levels[band]];
    this.ink.putImageData(column, this.next, 0);
    this.samples[this.next] = sample;
    this.next = (this.next + 1) % COLUMNS;
  }

  /** Draw the seconds around a sample. @param {number} sample @param {number} rate */
  paint(sample, rate) {
    const { canvas, context } = this;
    const { width, height } = canvas;
    context.globalAlpha = 1;
    context.fillStyle = colour("ground");
    context.fillRect(0, 0, width, height);
    const head = HEAD * width;
    const each = width / (SHOWN_S * rate); // pixels per sample
    let right = width;
    for (let i = 1; i <= COLUMNS && right > 0; i++) {
      const place = (this.next - i + COLUMNS) % COLUMNS;
      const x = head + (this.samples[place] - sample) * each;
      if (!Number.isFinite(x)) break;
      if (x >= right) continue;
      context.globalAlpha = x > head ? TO_COME : Math.min(1, 0.15 + (4 * Math.max(0, x)) / width);
      const wide = Math.min(right - x, WIDEST_S * rate * each) + 0.5;
      context.drawImage(this.strip, place, 0, 1, this.strip.height, x, 0, wide, height);
      right = x;
    }
    context.globalAlpha = 1;
    context.fillStyle = colour("ink");
    context.fillRect(Math.round(head), 0, Math.max(1, Math.round(devicePixelRatio)), height);
  }
}

/** The colours of levels 0..255, as pixels. */
function palette() {
  const stops = row("level").map(rgb);
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(place));
    const [r, g, b] = stops[from].map((value, i) => Math.round(value + (place - from) * (stops[from + 1][i] - value)));
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
}
