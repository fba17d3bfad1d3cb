/** The turn that runs now: its segments so far, by the marks that the server tells with each state. */

import { CHAIN } from "./table.js";

/** @typedef {import("./protocol.js").Message} Message */

/**
 * What is known of the running turn at a moment.
 * @typedef {object} Look
 * @property {Record<string, number>} segments In milliseconds, in causal order.
 * @property {string} growing The segment that still grows; empty once the reply is heard.
 * @property {number} ms All of them.
 */

const QUIET = 1 / 8; // of the voice's peak: below it nobody speaks
const MIN_QUIET_MS = 120; // a shorter silence is a part of speech

/** What is being waited for in a leaf, unless a mark says more. */
const WAITING = /** @type {Record<string, string>} */ ({
  transcribing_ended: "stt_tail", thinking: "llm_ttft", barge_in_thinking: "llm_ttft", speaking: "playback", barge_in_speaking: "playback",
});

/** What is being waited for once a mark is there. */
const AFTER = /** @type {[mark: string, segment: string][]} */ ([
  ["tts_first_byte", "gate_wait"], ["tts_request", "tts_ttfb"], ["llm_first_token", "clause_wait"],
]);

export class LiveTurn {
  constructor() {
    this.mode = "";
    this.voicedMs = 0; // when the microphone last heard the voice, on the browser's clock; 0: not yet
    this.loudest = 0; // of this voice
    this.clear();
    /** The browser's clock less the session's, and the shortest way of a message. */
    this.offsetMs = Infinity;
  }

  clear() {
    this.turn = 0; // not known yet
    this.leaf = "";
    this.marks = /** @type {Record<string, number>} */ ({});
    this.heardMs = 0; // on the browser's clock; 0: not yet
  }

  /** @param {Message} welcome Another session, whose clock is another one. */
  welcome({ mode }) {
    this.clear();
    this.mode = mode;
    this.offsetMs = Infinity;
  }

  /**
   * @param {Message} state
   * @param {number} nowMs The browser's clock.
   */
  state({ leaf, turn, at_ms: atMs, marks }, nowMs) {
    this.offsetMs = Math.min(this.offsetMs, nowMs - atMs);
    const { leaf: before } = this;
    if (!(leaf in WAITING || leaf === "transcribing_open")) return this.clear();
    const anew = leaf.startsWith("transcribing") && !before.startsWith("transcribing");
    if (anew || (this.turn && turn !== this.turn)) this.clear();
    this.leaf = leaf;
    if (!leaf.startsWith("transcribing")) this.turn = turn; // while a turn begins, the one before it has its number yet
    const confirmed = before.startsWith("barge_in"); // the voice is the one that began there
    if (leaf.startsWith("barge_in") || (leaf === "transcribing_open" && !confirmed)) this.voicedMs = this.loudest = 0;
    if (leaf.startsWith("barge_in")) return; // the marks may be of the sound over the reply
    this.marks = marks ?? {};
  }

  /** @param {Message} message A `started`: the reply is heard. */
  started({ turn, at_ms: atMs }) {
    if (this.turn === turn) this.heardMs ||= atMs;
  }

  /**
   * @param {number} peak Of a frame of the microphone: a voice that falls silent is seen here before the server says so.
   * @param {number} nowMs
   */
  level(peak, nowMs) {
    this.loudest = Math.max(this.loudest, peak);
    if (peak > this.loudest * QUIET) this.voicedMs = nowMs;
  }

  /**
   * @param {number} nowMs
   * @returns {Look | null} Null while no turn runs, or it has no question.
   */
  look(nowMs) {
    if (this.leaf === "transcribing_open") {
      const quietMs = this.voicedMs ? nowMs - this.voicedMs : 0;
      const ms = quietMs < MIN_QUIET_MS ? 0 : quietMs;
      return { segments: { endpoint_wait: ms }, growing: "endpoint_wait", ms };
    }
    const { leaf, marks } = this;
    const start = marks.speech_end;
    if (!leaf || start === undefined) return null;
    let cursor = start;
    /** @type {Record<string, number>} */
    const segments = {};
    for (const [name, mark] of CHAIN) {
      const at = marks[mark];
      if (at === undefined) continue;
      segments[name] = Math.max(0, at - cursor);
      cursor = Math.max(cursor, at);
      if (mark === "endpoint" && leaf === "transcribing_ended") break; // an early reply is made while the words are waited for
    }
    const growing = this.heardMs ? "" : this.growing;
    const last = growing || "playback";
    const until = Math.max(cursor, (this.heardMs || nowMs) - this.offsetMs);
    segments[last] = (segments[last] ?? 0) + until - cursor;
    return { segments, growing, ms: until - start };
  }

  /** The segment that the time goes into now. */
  get growing() {
    const { leaf, marks } = this;
    if (!leaf.endsWith("thinking")) return WAITING[leaf];
    const known = AFTER.find(([mark]) => mark in marks);
    if (known) return known[1];
    return this.mode === "realtime" ? "model_ttfa" : WAITING[leaf];
  }
}
