/** The keys of the whole page. Text fields, and buttons reached by Tab, keep their own keys. */

/** The keys and their descriptions, for the help. */
export const KEYS = [
  ["Space", "play, pause"],
  ["F", "brush: forget"],
  ["D", "brush: recall"],
  ["X", "brush: freeze"],
  ["[  ]", "brush smaller, larger"],
  ["Arrows, Enter", "in the grid: move, brush"],
  ["1 – 9", "arm a bank"],
  ["Ctrl or Shift + 1 – 9", "store a bank"],
  ["Enter", "fire the armed bank"],
  ["Ctrl Z", "undo"],
  ["Ctrl Shift Z", "redo"],
  ["R", "record"],
  ["M", "mark"],
  ["L", "learn MIDI"],
  ["Esc", "hush; on a phone, close the faders"],
  ["?", "help"],
];

/**
 * @typedef {Object} Actions
 * @property {() => void} play @property {() => void} hush @property {() => void} record @property {() => void} mark
 * @property {() => void} learn @property {() => void} help @property {() => void} undo @property {() => void} redo
 * @property {(kind: "forget" | "recall" | "freeze") => void} brush @property {(by: number) => void} resize
 * @property {(bank: number) => void} arm @property {(bank: number) => void} store @property {() => void} fire
 */

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
  if (digit) return () => (held || event.shiftKey ? actions.store : actions.arm)(Number(digit[1]));
  const key = event.key.toLowerCase();
  if (held) return key === "z" ? (event.shiftKey ? actions.redo : actions.undo) : undefined;
  return {
    " ": actions.play,
    escape: actions.hush,
    enter: actions.fire,
    f: () => actions.brush("forget"),
    d: () => actions.brush("recall"),
    x: () => actions.brush("freeze"),
    "[": () => actions.resize(-1),
    "]": () => actions.resize(1),
    r: actions.record,
    m: actions.mark,
    l: actions.learn,
    "?": actions.help,
  }[key];
}
