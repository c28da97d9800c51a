/** The master fader, and one for each part, if there are several, and for each layer, with count, order and switches. */

import { button } from "./controls.js";
import { PHONE } from "./drawer.js";

/** @typedef {import("./cells.js").Layer} Layer */
/** @typedef {import("./parts.js").Part} Part */

const ORDERS = ["saliency", "activation", "random", "cluster", "frequency"];

/** Round to a whole number; 0 and `all` only if exact. @param {number} value @param {number} all */
export function whole(value, all) {
  if (value <= 0) return 0;
  return value >= all ? all : Math.min(all - 1, Math.max(1, Math.round(value)));
}

export class Faders {
  /** @param {HTMLElement} root @param {Part[]} parts */
  constructor(root, parts) {
    this.root = root;
    this.master = plain("Forget", "Everything", "");
    this.master.classList.add("master");
    this.faders = parts.flatMap(({ layers }) => layers).map((layer) => ofLayer(layer));
    this.leads = parts.length > 1 ? parts.map((part) => lead(part)) : [];
    this.groups = this.leads.map((one, i) => {
      const group = document.createElement("div");
      group.className = "part";
      group.role = "group";
      group.ariaLabel = parts[i].name;
      group.append(one, ...parts[i].layers.map(({ number }) => this.faders[number]));
      return group;
    });
    const beside = document.createElement("div");
    beside.className = "groups";
    beside.append(...this.groups);
    root.replaceChildren(this.master, ...(this.groups.length ? [beside] : this.faders));
    PHONE.onchange = () => this.#turn();
    this.#turn();
  }

  /** Show the faders of one part, or of all. @param {number | null} part */
  choose(part) {
    this.root.classList.toggle("several", this.groups.length > 0);
    this.root.classList.toggle("together", this.groups.length > 0 && part === null);
    for (const [i, group] of this.groups.entries()) group.hidden = part !== null && i !== part;
  }

  /** Faders are horizontal on a phone, vertical elsewhere. */
  #turn() {
    const orientation = PHONE.matches ? "horizontal" : "vertical";
    for (const range of this.root.querySelectorAll("input")) range.ariaOrientation = orientation;
  }

  /**
   * Show what is remembered. @param {number[]} counts of all layers @param {number[]} shares of all parts, in percent
   * @param {number} percent of everything
   */
  count(counts, shares, percent) {
    say(this.master, `${percent} %`, "left", `${percent} percent remembered`);
    for (const [i, one] of this.leads.entries()) say(one, `${shares[i]} %`, "left", `${shares[i]} percent remembered`);
    for (const [i, one] of this.faders.entries()) {
      const units = Number(one.dataset.units);
      const count = whole(counts[i], units);
      say(one, String(count), `of ${units}`, `${count} of ${units} remembered`);
    }
  }
}

/** Write how much is remembered below a fader. */
function say(fader, large, small, spoken) {
  const [b, span] = fader.querySelector(".count").children;
  if (b.textContent === large) return;
  b.textContent = large;
  span.textContent = small;
  const range = fader.querySelector("input");
  range.ariaValueText = `${Math.round(100 * Number(range.value))} percent forgotten, ${spoken}`;
}

/** A fader of a path's `forget`. @param {string} words @param {string} name as it is spoken @param {string} path */
function made(words, name, path) {
  const template = /** @type {HTMLTemplateElement} */ (document.querySelector("template#fader"));
  const one = /** @type {HTMLElement} */ (template.content.firstElementChild.cloneNode(true));
  one.ariaLabel = name;
  one.querySelector(".name").textContent = words;
  const range = one.querySelector("input");
  range.dataset.path = `${path}/forget`;
  range.ariaLabel = `Forget ${path ? name : "everything"}`;
  return one;
}

/** A fader without switches and order. */
function plain(words, name, path) {
  const one = made(words, name, path);
  for (const part of [".lock", ".ice", ".order"]) one.querySelector(part).remove();
  return one;
}

/** The fader of all layers of a part, with a button that brings them back. @param {Part} part */
function lead(part) {
  const path = `/part/${part.number + 1}`;
  const one = plain(part.name, part.name, path);
  one.classList.add("lead");
  const recall = button("Recall", `${path}/recall`);
  recall.className = "small lock";
  recall.ariaLabel = `Recall ${part.name}`;
  one.append(recall);
  return one;
}

/** @param {Layer} layer */
function ofLayer(layer) {
  const { name, tone, units } = layer;
  const path = `/layer/${layer.number + 1}`;
  const one = made(layer.short, name, path);
  one.dataset.units = String(units);
  one.style.setProperty("--tone", `var(--${tone})`);
  const lock = one.querySelector(".lock");
  lock.dataset.path = `${path}/lock`;
  lock.ariaLabel = `Lock ${name}`;
  const ice = one.querySelector(".ice");
  ice.dataset.path = `${path}/freeze`;
  ice.ariaLabel = `Freeze ${name}`;
  const order = one.querySelector(".order");
  order.dataset.path = `${path}/order`;
  order.ariaLabel = `Order in ${name}`;
  const none = new Option("order", "", true, true);
  none.disabled = true; // a label, not a choice
  order.append(none, ...ORDERS.map((one) => new Option(one, one)));
  return one;
}
