/** The master fader and one for each layer, with count, order and switches. */

import { PHONE } from "./drawer.js";
import { layerColour } from "./theme.js";

const ORDERS = ["saliency", "activation", "random", "cluster", "frequency"];

/** Round to a whole number; 0 and `all` only if exact. @param {number} value @param {number} all */
export function whole(value, all) {
  if (value <= 0) return 0;
  return value >= all ? all : Math.min(all - 1, Math.max(1, Math.round(value)));
}

export class Faders {
  /** @param {HTMLElement} root @param {import("./cells.js").Layer[]} layers */
  constructor(root, layers) {
    const template = /** @type {HTMLTemplateElement} */ (document.querySelector("template#fader"));
    this.faders = [null, ...layers].map((layer) => {
      const one = /** @type {HTMLElement} */ (template.content.firstElementChild.cloneNode(true));
      const name = layer ? layer.name : "Forget";
      const path = layer ? `/layer/${layer.number + 1}` : "";
      one.ariaLabel = layer ? name : "Everything";
      one.querySelector(".name").textContent = name;
      const range = one.querySelector("input");
      range.dataset.path = `${path}/forget`;
      range.ariaLabel = layer ? `Forget ${name}` : "Forget everything";
      if (layer) dress(one, layer, layers.length, path);
      else one.classList.add("master");
      for (const part of layer ? [] : [".lock", ".ice", ".order"]) one.querySelector(part).remove();
      return one;
    });
    root.replaceChildren(...this.faders);
    PHONE.onchange = () => this.#turn();
    this.#turn();
  }

  /** Faders are horizontal on a phone, vertical elsewhere. */
  #turn() {
    const orientation = PHONE.matches ? "horizontal" : "vertical";
    for (const one of this.faders) one.querySelector("input").ariaOrientation = orientation;
  }

  /** Show what is remembered. @param {number[]} counts of each layer @param {import("./cells.js").Layer[]} layers */
  count(counts, layers) {
    const all = layers.reduce((sum, { units }) => sum + units, 0);
    const sum = counts.reduce((a, b) => a + b, 0);
    const percent = whole((100 * sum) / all, 100);
    this.#say(0, `${percent} %`, "left", `${percent} percent remembered`);
    for (const [i, { units }] of layers.entries()) {
      const count = whole(counts[i], units);
      this.#say(i + 1, String(count), `of ${units}`, `${count} of ${units} remembered`);
    }
    return percent;
  }

  #say(i, large, small, spoken) {
    const [b, span] = this.faders[i].querySelector(".count").children;
    if (b.textContent === large) return;
    b.textContent = large;
    span.textContent = small;
    const range = this.faders[i].querySelector("input");
    range.ariaValueText = `${Math.round(100 * Number(range.value))} percent forgotten, ${spoken}`;
  }
}

function dress(one, layer, count, path) {
  one.style.setProperty("--tone", `var(--${layerColour(layer.number, count)})`);
  const lock = one.querySelector(".lock");
  lock.dataset.path = `${path}/lock`;
  lock.ariaLabel = `Lock ${layer.name}`;
  const ice = one.querySelector(".ice");
  ice.dataset.path = `${path}/freeze`;
  ice.ariaLabel = `Freeze ${layer.name}`;
  const order = one.querySelector(".order");
  order.dataset.path = `${path}/order`;
  order.ariaLabel = `Order in ${layer.name}`;
  const none = new Option("order", "", true, true);
  none.disabled = true; // a label, not a choice
  order.append(none, ...ORDERS.map((name) => new Option(name, name)));
}
