/** A shared page: a piece that plays by itself, and that whoever opens it may take over and give back. */

import { Sound } from "./audio.js";
import { Brush, choices } from "./brush.js";
import { clock } from "./clock.js";
import { Controls, fill, rove } from "./controls.js";
import { Drawer } from "./drawer.js";
import { Engine } from "./engine.js";
import { FromEngine } from "./source.js";
import { Grid } from "./grid.js";
import { listen, told } from "./keys.js";
import { Mel } from "./mel.js";
import { Notices } from "./notices.js";
import { Scene } from "./scene.js";
import { missing, Words } from "./words.js";

const $ = (selector) => document.querySelector(selector);
const PAYLOADS = ["kernels", "memory", "arrays", "piece"];
const PAUSED_MS = 1000; // before the page asks for a press
const RESTING = new Set(["loading", "armed", "ended", "failed"]);
const STATES = { armed: "ready", ended: "the end", failed: "stopped" };
const ENDED = "The take is over.";

/** @typedef {{title: string, credits: string[], settings: import("./session.js").Settings}} About */

/** Take a text out of the page: what it holds is needed only once. @param {string} id */
function taken(id) {
  const element = document.getElementById(id);
  element.remove();
  return element.textContent;
}

/** @type {About} */
const about = JSON.parse(taken("about-piece"));
const engine = new Engine(taken("worker"));
const controls = new Controls(engine);
const sound = new Sound(new FromEngine(engine, taken("worklet")));
const grid = new Grid($("#grid"));
const scene = new Scene(engine, controls, sound, grid, new Mel($("#mel")));
const brush = new Brush(grid, (...stroke) => scene.stroke(...stroke));
const notices = new Notices($("#notice"));
const words = new Words($("#words"));
const drawer = new Drawer($("#hands"), $("#drawer button"));
const locked = about.settings.locked;
let state = "loading";
let pressed = false; // before the piece was there
let hands = false; // whether they have taken over

/** Say something in place of the piece, or beside it. @param {string} text */
function say(text) {
  if ($("#veil").hidden) notices.say(text);
  else $("#start-note").textContent = text;
}

/** Nothing can be played here. @param {string} why */
function refuse(why) {
  state = "failed";
  $("#veil").hidden = false;
  $("#start").hidden = true;
  $("#start-note").textContent = why;
  showState();
}

function load() {
  $("#title").textContent = about.title;
  $("#credits").textContent = about.credits.join(" · ");
  document.title = about.title;
  $("#take").hidden = locked;
  const why = missing();
  if (why) {
    refuse(why);
    return;
  }
  const payloads = Object.fromEntries(PAYLOADS.map((name) => [name, taken(name)]));
  engine.say({ payloads, settings: about.settings });
}

// What the engine says.

engine.addEventListener("welcome", () => {
  controls.watchOnly(!hands);
  showNote();
  setState("armed");
  if (pressed) play();
});
engine.addEventListener("event", ({ detail }) => detail.what === "state" && setState(detail.state));
engine.addEventListener("notice", ({ detail: { text } }) => say(text));
engine.addEventListener("nack", ({ detail: { message } }) => say(message));
engine.addEventListener("bye", ({ detail: { reason } }) => refuse(reason));
engine.addEventListener("take", ({ detail: { text } }) => save(text));
scene.addEventListener("moved", ({ detail: { path, value } }) => {
  if (path === "/play") $("#play").ariaPressed = String(Boolean(value));
});
scene.addEventListener("vain", () => {
  notices.say("a fader or the score has forgotten these: brushes bring back what brushes took");
});
scene.addEventListener("words", ({ detail: { heard, percent } }) => {
  brush.describe();
  if (heard !== null) words.remembered(percent / 100);
  showStatus();
});
sound.addEventListener("change", () => {
  showState();
  setTimeout(() => {
    if (sound.paused && !document.hidden) say("The browser has paused the sound. Press any key or touch the page.");
  }, PAUSED_MS);
});

// What hands do.

async function start() {
  let open = false;
  try {
    open = await sound.start();
    if (!open) $("#start-note").textContent = "The browser keeps sound back until you press the button.";
  } catch (error) {
    $("#start-note").textContent = `Sound cannot be opened: ${error.message}.`;
  }
  if (open) play();
}

/** Play, as soon as the piece is there. */
function play() {
  pressed = state === "loading";
  if (pressed) $("#start-note").textContent = "The piece is loading; it sounds as soon as it is there.";
  else engine.set("/play", [1]);
}

function toggle() {
  if (RESTING.has(state)) start();
  else engine.set("/play", [controls.values.get("/play") ? 0 : 1]);
}

/** Take over, or give back. */
function turn() {
  if (locked || RESTING.has(state)) return;
  if (hands) engine.say({ type: "back" });
  else $("#keep").hidden = false;
  take(!hands);
}

/** Show the hands, or put them away. @param {boolean} over whether they take over */
function take(over) {
  hands = over;
  controls.watchOnly(!over);
  document.body.classList.toggle("taken", over);
  $("#take").ariaPressed = String(over);
  $("#take").textContent = over ? "Give it back" : "Take over";
  if (!over) drawer.turn(false);
}

/** Hand over what was done as a file. @param {string} text */
function save(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
  link.download = `${about.title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "piece"}-take.toml`;
  link.click();
  URL.revokeObjectURL(link.href);
}

const actions = { play: toggle, hush: () => RESTING.has(state) || engine.set("/hush"), help };
if (!locked) {
  Object.assign(actions, {
    brush: (kind) => hands && brush.choose(kind),
    resize: (by) => hands && brush.resize(by),
  });
}

function help() {
  $("#help").open = !$("#help").open;
  $("#help summary").focus();
}

// What is shown.

/** @param {string} word */
function setState(word) {
  state = word;
  $("#veil").hidden = !RESTING.has(word);
  $("#start").textContent = word === "ended" || word === "failed" ? "Play again" : "Play";
  if (word === "ended") $("#start-note").textContent = ENDED;
  if (RESTING.has(word)) $("#play").ariaPressed = "false";
  $("#play").disabled = word === "loading";
  $("#take").disabled = RESTING.has(word);
  if (RESTING.has(word) && hands) take(false); // hands end with what they played
  showState();
}

function showState() {
  const paused = sound.paused && !RESTING.has(state);
  document.body.dataset.state = paused ? "paused" : state;
  const text = paused ? "sound paused" : (STATES[state] ?? state);
  if ($("#state").textContent !== text) $("#state").textContent = text;
}

function showNote() {
  const notes = about.settings.locked ? "It plays by itself." : "It plays by itself, until you take it over.";
  $("#start-note").textContent = notes;
}

function showStatus() {
  const { report } = sound;
  const lost = report?.underruns ?? 0;
  const says = [
    RESTING.has(state) ? "" : clock(scene.time_s),
    lost ? `${lost} ${lost === 1 ? "gap" : "gaps"} in the sound` : "",
    scene.stats.quality === "draft" ? "rougher, to keep up" : "",
  ];
  const text = says.filter(Boolean).join(" · ");
  if ($("#status").textContent !== text) $("#status").textContent = text;
}

$("#start").addEventListener("click", start);
$("#play").addEventListener("click", toggle);
$("#take").addEventListener("click", turn);
$("#keep").addEventListener("click", () => engine.say({ type: "keep" }));
listen(actions);
$("#keys").innerHTML = told(actions);
for (const range of document.querySelectorAll("input[type=range]")) fill(range);
for (const root of ["#brushes", "#chords"]) rove($(root), "button");
choices(brush);
load();

/** For the console, and for tests that listen to the sound. */
Object.assign(globalThis, { fugue: { engine, controls, sound, grid, brush, scene, state: () => state } });
