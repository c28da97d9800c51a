/** The page: passes messages of the server to its parts, and what performers do to the server. */

import { Banks } from "./banks.js";
import { Brush, choices } from "./brush.js";
import { clock } from "./clock.js";
import { Control } from "./control.js";
import { button, Controls, fill, rove } from "./controls.js";
import { Drawer } from "./drawer.js";
import { Grid } from "./grid.js";
import { listen, told } from "./keys.js";
import { Log } from "./log.js";
import { Mel } from "./mel.js";
import { Midi } from "./midi.js";
import { Notices, refusal } from "./notices.js";
import { Piano, showChords } from "./piano.js";
import { Scene } from "./scene.js";
import { Server } from "./source.js";
import { Sound } from "./audio.js";
import { ofBrowser, ofTab } from "./storage.js";
import { Table } from "./table.js";

const LATE_NOTE_S = 10; // a note on something longer ago says when that was
const PLAYING = new Set(["playing", "frozen", "replaying"]);
const PAUSED_MS = 1000; // before the page asks for a press

const $ = (selector) => document.querySelector(selector);
/** Lines of the log for changed values; forgotten and recalled units have events of their own. */
const LOGGED = new Map([
  ["/chord", (name) => `chord ${name || "as composed"}`],
  ["/seed", (seed) => `seed ${seed}`],
  ["/freeze", (on) => (on ? "frozen" : "released")],
  ["/play", (on) => (on ? "plays" : "stops")],
  ["/hush", () => "hushed"],
  ["/recall", () => "everything recalled"],
]);
const query = new URLSearchParams(location.search);
const sockets = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const watching = query.has("view");
const control = new Control(`${sockets}/control${location.search}`, { name: nameOfPage(), view: watching });
const controls = new Controls(control);
const sound = new Sound(new Server(`${sockets}/audio${location.search}`));
const grid = new Grid($("#grid"));
const scene = new Scene(control, controls, sound, grid, new Mel($("#mel")));
const brush = new Brush(grid, (...stroke) => scene.stroke(...stroke));
const log = new Log($("#log"));
const notices = new Notices($("#notice"));
const banks = new Banks($("#banks"), controls, () => Number($("#morph input").value));
const piano = new Piano($("#piano-keys"), controls, () => Number($("#velocity input").value));
const midi = new Midi(controls, banks, piano);
const drawer = new Drawer($("#hands"), $("#drawer button"));
const table = new Table($("#table"), (unit, kind) => {
  const { cells } = scene;
  const forget = cells.now(unit) > 0;
  scene.stroke([unit], kind === "freeze" ? "freeze" : forget ? "forget" : "recall", 1, !cells.frozen[unit]);
});

let state = "reconnecting";
let warned = false; // whether the page has said that the browser stores nothing
let pressed = false; // Start was pressed before the memory was loaded
let silent = false; // this page has no sound, by choice
let recording = false;
let memory = ""; // by its name
/** @type {number[]} */ let stored = [];
/** @type {Record<string, string[]>} */ let takes = {}; // the file endings of each
/** @type {string | null} */ let rendering = null; // the take that is being rendered

/** A name that this tab keeps, so that others see who did what. */
function nameOfPage() {
  const name = ofTab.get("name") ?? `page ${Math.random().toString(36).slice(2, 6)}`;
  ofTab.set("name", name);
  return name;
}

// Messages of the server.

control.addEventListener("welcome", ({ detail: welcome }) => {
  ({ takes, recording, rendering } = welcome);
  memory = welcome.memory.name;
  showMemories(welcome.memories, welcome.parts);
  showChords($("#key-chords-list"), welcome.memory.chords, welcome.memory.keys);
  $("#key-chords-open").hidden = !welcome.memory.chords.length;
  controls.showAll();
  controls.watchOnly(welcome.view);
  stored = welcome.banks;
  banks.show(stored, welcome.armed ?? 0);
  log.open(welcome.session);
  sayWhatIsNotKept();
  showState(welcome.state);
  showRecording();
  document.title = `${welcome.memory.name} · Fugue State`;
  if (!sound.context) $("#start-note").textContent = "its memory, under your hands";
  if (pressed) begin();
  // After a reload some browsers start the sound at once; others wait for a press.
  else if (!sound.context && ofTab.get("sounded")) open();
  brush.point(0);
});

control.addEventListener("link", ({ detail: open }) => {
  if (open) return;
  piano.forget();
  showState("reconnecting");
  if (!pressed) return;
  pressed = false;
  $("#start").disabled = false;
  note("The connection broke before the memory was there. Press Start sound again.", "warning");
});

control.addEventListener("refused", ({ detail: { why, path } }) => note(refusal(why, path), "warning"));

control.addEventListener("nack", ({ detail: { code, message } }) => {
  if (code !== "too_fast") note(message, "warning"); // that is sent again
});

control.addEventListener("meter", ({ detail: { peak_db: peak, lufs } }) => {
  showLevel("peak", peak);
  showLevel("lufs", lufs);
});

control.addEventListener("notice", ({ detail: { level, text } }) => {
  note(text, level);
  if (level === "warning") controls.follow("/memory", memory); // the memory may have been refused
});

control.addEventListener("bye", ({ detail: { reason } }) => note(reason, "warning"));

control.addEventListener("event", ({ detail: event }) => {
  const at = event.at_sample / scene.rate;
  if (event.what === "state") showState(event.state);
  else if (event.what === "bank") followBank(event);
  else if (event.what === "take") followTake(event);
  else if (event.what === "mark") logMark(at, event.text);
  else log.count(at, event.what, scene.cells.layers[event.layer - 1].name, event.units.length);
});

scene.addEventListener("moved", ({ detail: { path, value, at } }) => {
  if (path === "/hush") sound.hush();
  const part = /^\/part\/(\d+)\/recall$/.exec(path);
  if (scene.shown && part) log.add(at / scene.rate, `${scene.parts.all[part[1] - 1].name} recalled`);
  if (scene.shown && LOGGED.has(path)) log.add(at / scene.rate, LOGGED.get(path)(value));
});

// What performers do.

scene.addEventListener("vain", () => {
  note("a fader or the score has forgotten these: brushes bring back what brushes took", "info");
});

controls.addEventListener("pressed", ({ detail: path }) => {
  if (path === "/hush") sound.hush();
});

/** Open the sound, if the browser lets it. @returns {Promise<boolean>} */
async function open() {
  try {
    if (await sound.start()) {
      $("#veil").hidden = scene.cells !== null;
      ofTab.set("sounded", "yes");
      return true;
    }
    $("#start-note").textContent = "The browser keeps sound back until you press the button.";
  } catch (error) {
    $("#start-note").textContent = `Sound cannot be opened: ${error.message}.`;
  }
  return false;
}

async function start() {
  if (await open()) begin();
}

/** What starts to play first opens the sound, or is refused; after "watch without sound" it needs none. */
controls.allows = (path, args, by) => {
  const starts = ["/play", "/replay"].includes(path) && args[0];
  if (!starts || sound.node || silent || !control.open) return true;
  open().then((opened) => {
    if (opened) controls.set(path, args, by);
    else note(`${$("#start-note").textContent} Nothing plays yet.`, "warning");
  });
  return false;
};

ofBrowser.addEventListener("refused", sayWhatIsNotKept);
sound.addEventListener("change", () => {
  showState(state);
  setTimeout(() => {
    if (sound.paused && !document.hidden) note("The browser has paused the sound. Press any key or touch the page.", "warning");
  }, PAUSED_MS);
});

/** Play, as soon as there is a memory. */
function begin() {
  pressed = scene.cells === null;
  $("#start").disabled = pressed;
  $("#veil").hidden = !pressed;
  if (pressed) $("#start-note").textContent = "The memory is loading; it sounds as soon as it is there.";
  else if (!controls.values.get("/play")) controls.set("/play", [1]);
}

function mark() {
  if (controls.view) return;
  log.add(scene.time_s, "mark").focus();
}

function record() {
  controls.set(recording ? "/rec/stop" : "/rec/start");
}

function learn() {
  const on = document.body.classList.toggle("learning");
  midi.learning = null;
  $("#midi-learn").ariaPressed = String(on);
  if (!on) return;
  $("#midi").close();
  note("MIDI learn: press a control here, then move one of the device. L ends it.", "info");
}

/** Show the piano, or hide it. */
function turnPiano() {
  const open = $("#piano").hidden;
  $("#piano").hidden = !open;
  $("#piano-open").ariaPressed = String(open);
  if (!open) turnTyping(false);
}

/** Let the computer's keys play, or mean what they mean to the page. @param {boolean} on */
function turnTyping(on) {
  piano.type(on);
  $("#typed").ariaPressed = String(on);
}

const actions = {
  play: () => controls.toggle("/play"),
  hush: () => controls.set("/hush"),
  undo: () => controls.set("/undo"),
  redo: () => controls.set("/redo"),
  record,
  mark,
  learn,
  piano: turnPiano,
  help: () => $("#help").showModal(),
  brush: (kind) => brush.choose(kind),
  resize: (by) => brush.resize(by),
  arm: (bank) => banks.tap(bank),
  store: (bank) => banks.store(bank),
  fire: () => banks.fire(),
};
listen(actions);

$("#start").addEventListener("click", start);
$("#watch").addEventListener("click", () => {
  silent = true;
  $("#veil").hidden = true;
});
$("#record").addEventListener("click", record);
$("#mark").addEventListener("click", mark);
$("#log-save").addEventListener("click", () => log.save());
$("#table-open").addEventListener("click", () => scene.cells && table.open(scene.cells));
$("#help-open").addEventListener("click", () => $("#help").showModal());
$("#midi-open").addEventListener("click", () => $("#midi").showModal());
$("#midi-learn").addEventListener("click", learn);
$("#midi-reset").addEventListener("click", () => midi.reset());
$("#midi-pickup").addEventListener("change", ({ target }) => (midi.pickup = target.checked));
$("#midi-ask").addEventListener("click", async () => ($("#midi-state").textContent = await midi.open()));
$("#midi-lights").addEventListener("change", ({ target }) => midi.light(target.checked));
$("#midi-plays").checked = midi.plays;
$("#midi-plays").addEventListener("change", ({ target }) => midi.play(target.checked));
$("#midi-follow").addEventListener("change", ({ target }) => (midi.beatIn.on = target.checked));
$("#midi-lead").addEventListener("change", ({ target }) => {
  midi.beatOut.lead(midi.outputs.find(({ id }) => id === target.value) ?? null);
});
$("#piano-open").addEventListener("click", turnPiano);
$("#typed").addEventListener("click", () => turnTyping(!piano.typed));
$("#lower").addEventListener("click", () => piano.shift(-1));
$("#higher").addEventListener("click", () => piano.shift(1));
$("#key-chords-open").addEventListener("click", () => $("#key-chords").showModal());
$("#dice").addEventListener("click", () => controls.set("/seed", [Math.floor(Math.random() * 2 ** 31)]));
$("#takes-open").addEventListener("click", () => {
  showTakes();
  $("#takes").showModal();
});
$("#log").addEventListener("change", ({ target }) => {
  const at = Number(target.closest("li").dataset.at);
  const late = scene.time_s - at > LATE_NOTE_S;
  if (target.value) controls.set("/mark", [`${late ? `${clock(at)} ` : ""}${target.value}`]);
});
midi.addEventListener("changed", showMidi);
midi.addEventListener("learned", ({ detail: key }) => {
  document.querySelector(".learns")?.classList.remove("learns");
  note(`${key.replace(":", " ")} now plays ${midi.map[key]}`, "info");
});
document.addEventListener(
  "pointerdown",
  ({ target }) => {
    const chosen = target.closest("[data-path], [data-learn]");
    if (!chosen || !document.body.classList.contains("learning")) return;
    document.querySelector(".learns")?.classList.remove("learns");
    chosen.classList.add("learns");
    midi.learning = chosen.dataset.path ?? chosen.dataset.learn;
  },
  true,
);

// What the page shows.

function showState(word) {
  state = word;
  const paused = sound.paused && word !== "reconnecting";
  document.body.dataset.state = paused ? "paused" : word;
  const words = paused ? "sound paused" : controls.view ? "watching" : word;
  if ($("#state").textContent !== words) $("#state").textContent = words;
  // While the server is away, the expectation stays as it was.
  if (word !== "reconnecting") sound.expect(PLAYING.has(word));
  if (word !== "replaying") controls.follow("/replay", "");
}

function showRecording() {
  $("#record").ariaPressed = String(recording);
  $("#record").textContent = recording ? `Stop ${clock(scene.stats.recording_s ?? 0)}` : "Record";
}

/** @param {"peak" | "lufs"} name @param {number | null} level in dB */
function showLevel(name, level) {
  const heard = Number.isFinite(level) ? level : -60;
  $(`#${name}`).style.setProperty("--at", String(Math.min(1, Math.max(0, 1 + heard / 60))));
  const text = heard <= -60 ? "−∞" : heard.toFixed(1).replace("-", "−");
  $(`#${name}-text`).textContent = text;
  $(`#${name}`).ariaValueNow = String(Math.max(-60, Math.round(heard)));
}

function followBank({ did, bank }) {
  if (did === "stored" && !stored.includes(bank)) stored.push(bank);
  banks.follow(did, bank);
  midi.pads(stored, banks.armed);
  if (did === "armed") controls.follow("/ab", 0);
  if (scene.shown && did === "fired") note(`bank ${bank} fired`, "");
}

function followTake({ did, take, takes: all, share, recording: goes }) {
  takes = all;
  recording = goes;
  if (/render/.test(did)) rendering = did === "rendering" ? take : null;
  if (did === "rendering") {
    showShare(share);
    return;
  }
  controls.follow("/render", "");
  if (did !== "armed") note(`${take || "the take"} ${did}`, ["failed", "not rendered"].includes(did) ? "error" : "");
  showRecording();
  showTakes();
}

function showTakes() {
  const lines = Object.entries(takes).map(([name, forms]) => {
    const line = document.createElement("li");
    line.append(name, ...forms.map((form) => download(`${name}.${form}`, form)));
    line.append(press("Replay", "/replay", name));
    const bar = Object.assign(document.createElement("progress"), { ariaLabel: `${name} renders` });
    const render = press("Render", "/render", name);
    render.disabled ||= rendering !== null;
    if (!forms.includes("wav")) line.append(name === rendering ? bar : render);
    return line;
  });
  $("#takes-list").replaceChildren(...lines);
  if (!lines.length) $("#takes-list").textContent = "None yet: Record keeps every movement and the sound.";
}

/** Show the share of a take that is rendered. @param {number} share 0..1 */
function showShare(share) {
  if (!$("#takes-list progress")) showTakes();
  $("#takes-list progress").value = share;
}

function press(words, path, value) {
  const made = button(words, path, value);
  made.disabled = controls.view;
  return made;
}

function download(file, words) {
  const link = document.createElement("a");
  link.href = `/takes/${encodeURIComponent(file)}${location.search}`;
  link.download = file;
  link.textContent = words;
  return link;
}

/** Offer other memories, unless voices have memories of their own. @param {string[]} names @param {any[]} parts */
function showMemories(names, parts) {
  const select = $("#memory select");
  $("#memory").hidden = names.length < 2 || new Set(parts.map((part) => part.memory)).size > 1;
  select.replaceChildren(...names.map((one) => new Option(one, one)));
  controls.follow("/memory", memory);
}

function showMidi() {
  if (midi.access) $("#midi-state").textContent = midi.connected;
  const lines = Object.entries(midi.map).map(([key, path]) => {
    const line = document.createElement("li");
    line.textContent = `${key.replace("cc:", "CC ").replace("note:", "note ")} → ${path}`;
    return line;
  });
  $("#midi-map").replaceChildren(...lines);
  const outputs = midi.outputs.map(({ id, name }) => new Option(name, id));
  $("#midi-lead").replaceChildren(new Option("nobody", ""), ...outputs);
  $("#midi-lead").value = midi.beatOut.output?.id ?? "";
}

function logMark(at, text) {
  // A mark made on this page has a line already.
  const own = [...log.root.querySelectorAll("input")].some((input) => input.value === text);
  if (!own) log.add(at, `mark: ${text}`);
}

/** Write a line in the log; warnings and errors are also shown and spoken at once. */
function note(text, level) {
  if (!scene.cells) {
    $("#start-note").textContent = text;
    return;
  }
  if (["warning", "error"].includes(level) && !notices.say(text)) return;
  log.add(scene.time_s, text, level);
}

/** Say once that the browser stores nothing. */
function sayWhatIsNotKept() {
  if (warned || !scene.cells || !ofBrowser.refused) return;
  warned = true;
  note("The browser keeps nothing for this page: save the log before you leave or reload it.", "info");
}

scene.addEventListener("words", ({ detail: { heard } }) => {
  brush.describe();
  table.refresh();
  showRecording();
  showStatus(heard);
});

function soundWord(report, heard) {
  if (!report) return "sound off";
  if (sound.paused) return "sound paused by the browser";
  if (report.holding) return "sound held";
  return heard === null ? "sound waits" : "sound on";
}

function showStatus(heard) {
  const { report } = sound;
  const { rate, shown, stats } = scene;
  const total = Math.round((1000 * scene.latency) / rate + sound.latency_ms);
  const load = Math.round(100 * (stats.load ?? 0));
  const [lost, late] = [report?.underruns ?? 0, stats.underruns ?? 0];
  const degraded = stats.quality === "draft";
  const says = [
    [control.open ? "connected" : "reconnecting", !control.open],
    [soundWord(report, heard), report?.holding || sound.paused],
    [`hand to sound <b>${report ? total : "–"}</b> ms`],
    [`cushion <b>${Math.round(report?.cushion_ms ?? 0)}</b> ms`],
    [`underruns <b>${lost}</b>`, lost > 0],
    [`engine <b>${load}</b> %`, load > 80],
    [late ? `late blocks <b>${late}</b>` : "", true],
    [degraded ? "quality stepped down to draft" : `quality ${stats.quality ?? "–"}`, degraded],
    [stats.clients > 1 ? `${stats.clients} hands and eyes` : ""],
    [shown ? clock(shown.at_sample / rate) : ""],
  ];
  const html = says.filter(([text]) => text).map(([text, bad]) => `<span${bad ? ' class="bad"' : ""}>${text}</span>`);
  const joined = html.join("");
  if ($("#status").innerHTML !== joined) $("#status").innerHTML = joined;
}

/** Say where the page works, if it cannot work here. */
function greet() {
  $("#keys").innerHTML = told(actions);
  for (const range of document.querySelectorAll("input[type=range]")) fill(range);
  for (const root of ["#brushes", "#chords", "#banks"]) rove($(root), "button");
  rove($("#log"), "input");
  choices(brush);
  showMidi();
  if (isSecureContext) return;
  $("#banner").textContent =
    "Browsers give no sound to plain http from another machine. " +
    `Open http://localhost:${location.port}/${location.search} on the machine that plays, ` +
    "or put https in front of this address.";
  $("#banner").hidden = false;
  $("#start").hidden = true;
}

greet();

/** For the console, and for tests that listen to the sound. */
Object.assign(globalThis, {
  fugue: { control, controls, sound, scene, grid, brush, banks, midi, piano, log, drawer, cells: () => scene.cells },
});
