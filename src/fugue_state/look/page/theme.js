/** The colours of the theme, from the style sheet. */

const style = getComputedStyle(document.documentElement);

/** @param {string} name such as "ink" or "layer-2" */
export function colour(name) {
  return style.getPropertyValue(`--${name}`).trim();
}

/** @param {string} name @returns {number[]} red, green and blue within 0..255 */
export function rgb(name) {
  return [1, 3, 5].map((i) => Number.parseInt(colour(name).slice(i, i + 2), 16));
}

/** The names of all colours in a row, such as "level". @param {string} row @returns {string[]} their names */
export function row(row) {
  const names = [];
  while (colour(`${row}-${names.length + 1}`)) names.push(`${row}-${names.length + 1}`);
  return names;
}

/** The name of the colour of layer `number` (from 0) of `count`. */
export function layerColour(number, count) {
  const names = row("layer");
  return names[Math.round((number * (names.length - 1)) / Math.max(count - 1, 1))];
}

/** Relative luminance (WCAG 2). @param {string} name */
export function luminance(name) {
  const [r, g, b] = rgb(name).map((v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export const calmer = matchMedia("(prefers-reduced-motion: reduce)");
