/** The keys of the whole page. Text fields, and buttons reached by Tab, keep their own keys. */

/** What each key does, as the help says it, and the action that it needs. */
const KEYS = [
  ["Space", "play, pause", "play"],
  ["F", "brush: forget", "brush"],
  ["D", "brush: recall", "brush"],
  ["X", "brush: freeze", "brush"],
  ["[  ]", "brush smaller, larger", "resize"],
  ["Arrows, Enter", "in the grid: move, brush", "brush"],
  ["1 – 9", "arm a bank", "arm"],
  ["Ctrl or Shift + 1 – 9", "store a bank", "store"],
  ["Enter", "fire the armed bank", "fire"],
  ["Ctrl Z", "undo", "undo"],
  ["Ctrl Shift Z", "redo", "redo"],
  ["R", "record", "record"],
  ["M", "mark", "mark"],
  ["L", "learn MIDI", "learn"],
  ["K", "show the piano, hide it", "piano"],
  ["Esc", "hush; on a phone, close the faders", "hush"],
  ["?", "help", "help"],
];

/**
 * What a page does at keys; it may leave some out.
 * @typedef {Object} Actions
 * @property {() => void} play @property {() => void} hush @property {() => void} record @property {() => void} mark
 * @property {() => void} learn @property {() => void} help @property {() => void} piano @property {() => void} undo @property {() => void} redo
 * @property {(kind: "forget" | "recall" | "freeze") => void} brush @property {(by: number) => void} resize
 * @property {(bank: number) => void} arm @property {(bank: number) => void} store @property {() => void} fire
 */

/** What the keys of a page do, for its help. @param {Actions} actions @returns {string} HTML */
export function told(actions) {
  const known = KEYS.filter(([, , action]) => action in actions);
  return known.map(([key, what]) => `<dt>${key}</dt><dd>${what}</dd>`).join("");
}

/** @param {Actions} actions */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input[type=text], input[type=number]")) {
      if (event.key === "Escape" || event.key === "Enter") target.blur();
      return;
    }
    const own = (event.key === " " || event.key === "Enter") && target.matches("button, select, a, summary");
    if (own || (target.matches("select") && event.key.length === 1)) return;
    const act = found(event, actions);
    if (!act || (event.repeat && !"[]".includes(event.key))) return;
    event.preventDefault();
    act();
  });
}

/** @param {KeyboardEvent} event @param {Actions} actions @returns {(() => void) | undefined} */
function found(event, actions) {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const held = event.ctrlKey || event.metaKey;
  if (digit) {
    const act = held || event.shiftKey ? actions.store : actions.arm;
    return act && (() => act(Number(digit[1])));
  }
  const key = event.key.toLowerCase();
  if (held) return key === "z" ? (event.shiftKey ? actions.redo : actions.undo) : undefined;
  return {
    " ": actions.play,
    escape: actions.hush,
    enter: actions.fire,
    f: actions.brush && (() => actions.brush("forget")),
    d: actions.brush && (() => actions.brush("recall")),
    x: actions.brush && (() => actions.brush("freeze")),
    "[": actions.resize && (() => actions.resize(-1)),
    "]": actions.resize && (() => actions.resize(1)),
    r: actions.record,
    m: actions.mark,
    l: actions.learn,
    k: actions.piano,
    "?": actions.help,
  }[key];
}
