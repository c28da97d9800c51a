/** A take as JSON. */

export function takeText(piece, log, position) {
  return JSON.stringify({ piece: piece.name, log, position });
}
