/** The messages and frames of /ws, as docs/protocol.md has them. */

export const VERSION = 1;
export const RATE_HZ = 24000;
export const FRAME_SAMPLES = 480;
const HEADER_BYTES = 16;
const MIC = 1;
const REPLY = 2;
const FILLER = 1;

/**
 * @typedef {object} ReplyFrame
 * @property {number} turn
 * @property {number} epoch
 * @property {number} first First sample of the frame within its epoch.
 * @property {boolean} filler Whether it only bridges a long wait: it is played like a reply, and is none.
 * @property {Int16Array} pcm
 */

/**
 * A message of the server: its `type` says which one; docs/protocol.md says what is in it.
 * @typedef {{type: string, [field: string]: any}} Message
 */

/**
 * Pack a microphone frame.
 * @param {number} seq Frames are counted from 0.
 * @param {number} capturedMs performance.now() at the frame's first sample.
 * @param {Int16Array} pcm
 * @returns {ArrayBuffer}
 */
export function packFrame(seq, capturedMs, pcm) {
  const data = new ArrayBuffer(HEADER_BYTES + pcm.length * 2);
  const view = new DataView(data);
  view.setUint8(0, MIC);
  view.setUint32(4, seq, true);
  view.setFloat64(8, Math.max(0, capturedMs), true);
  for (let i = 0; i < pcm.length; i++) view.setInt16(HEADER_BYTES + i * 2, pcm[i], true);
  return data;
}

/**
 * Read a reply frame; null if it is none.
 * @param {ArrayBuffer} data
 * @returns {ReplyFrame | null}
 */
export function unpackFrame(data) {
  const view = new DataView(data);
  if (data.byteLength <= HEADER_BYTES || view.getUint8(0) !== REPLY) return null;
  const pcm = new Int16Array((data.byteLength - HEADER_BYTES) >> 1);
  for (let i = 0; i < pcm.length; i++) pcm[i] = view.getInt16(HEADER_BYTES + i * 2, true);
  return {
    turn: view.getUint32(4, true), epoch: view.getUint32(8, true), first: view.getUint32(12, true),
    filler: (view.getUint8(1) & FILLER) !== 0, pcm,
  };
}
