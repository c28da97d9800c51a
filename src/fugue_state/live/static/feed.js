/**
 * Passes sound from the server to the worklet, in its own thread, so that drawing cannot delay it. Asks for as many
 * blocks as were played. When the server is gone, it tries again, less and less often.
 */

const MAGIC = "FUG1";
const HEADER = 24;
const CREDIT = 32; // most blocks on their way
const STALLED_MS = 300; // so long without a block, and the server counts as gone
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

/** @type {string} */ let address;
/** @type {MessagePort} */ let player;
let expected = false;
let owed = 0;
let played = 0;
let blockFrames = 1024;
let wait = FIRST_WAIT_MS;
let stalled = 0;
let gone = false;

/** @param {ArrayBuffer} message @returns {{first: number, rate: number, samples: Float32Array} | null} */
function decode(message) {
  const view = new DataView(message);
  const magic = String.fromCharCode(...new Uint8Array(message, 0, 4));
  if (message.byteLength < HEADER || magic !== MAGIC || view.getUint8(5) !== 2) return null;
  const sound = message.slice(HEADER);
  const floats = view.getUint8(4) === 1;
  const samples = floats ? new Float32Array(sound) : Float32Array.from(new Int16Array(sound), (value) => value / 32767);
  return { first: Number(view.getBigUint64(16, true)), rate: view.getUint32(8, true), samples };
}

/** Sound is expected but missing: the worklet holds what it has. */
function lose() {
  if (expected && !gone) player.postMessage({ gone: true });
  gone = true;
}

function connect() {
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const ask = (blocks) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "credit", blocks }));
  };
  socket.onopen = () => {
    owed = 0;
    ask(CREDIT);
  };
  socket.onmessage = ({ data }) => {
    const block = data instanceof ArrayBuffer && decode(data);
    if (!block) return;
    gone = false;
    wait = FIRST_WAIT_MS;
    clearTimeout(stalled);
    stalled = setTimeout(lose, STALLED_MS);
    blockFrames = block.samples.length / 2;
    player.postMessage(block, [block.samples.buffer]);
  };
  socket.onclose = () => {
    clearTimeout(stalled);
    lose();
    setTimeout(connect, wait);
    wait = Math.min(LONGEST_WAIT_MS, 2 * wait);
  };
  player.onmessage = ({ data }) => {
    owed += data.played - played;
    played = data.played;
    const blocks = Math.floor(owed / blockFrames);
    if (blocks < 1) return;
    owed -= blocks * blockFrames;
    ask(blocks);
  };
}

onmessage = ({ data }) => {
  if ("expected" in data) {
    expected = data.expected;
    return;
  }
  ({ address, player } = data);
  connect();
};
postMessage("here");
