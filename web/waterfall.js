/** A small waterfall for each turn: where the silence between the question and the answer went. */

/** @typedef {import("./live.js").Look} Look */
/** @typedef {import("./protocol.js").Message} Message */

const SEGMENTS = [
  ["uplink", "to the server"], ["endpoint_wait", "waiting for the end"], ["stt_tail", "last words"], ["queue", "queue"],
  ["llm_ttft", "language model"], ["clause_wait", "first clause"], ["tts_ttfb", "voice"],
  ["model_ttfa", "voice model: time to first audio"], ["gate_wait", "gate"], ["send", "sending"], ["network", "to the browser"], ["playback", "audio buffer"], ["leading_silence", "silence in the audio"], ["other", "other"],
];
const KNOWN = new Set(SEGMENTS.map(([name]) => name));
const MAX_ROWS = 6;
const MAX_GAPS = 1000;
const NO_ANSWER = new Set(["discarded", "reopened"]);

/**
 * The value below or at which a share of them lies, by nearest rank.
 * @param {number[]} values In order, at least one.
 * @param {number} share
 */
function quantile(values, share) {
  return values[Math.max(0, Math.ceil(share * values.length) - 1)];
}

/**
 * What a newer server counts that this page has no name for.
 * @param {Record<string, number>} segments
 */
function unknown(segments) {
  return Object.entries(segments).reduce((sum, [name, ms]) => sum + (KNOWN.has(name) ? 0 : ms), 0);
}

/**
 * What is worth a word about a turn.
 * @param {Message} turn
 */
function remarks(turn) {
  const { speculation_start: start, endpoint } = turn.marks;
  const early = start < endpoint ? [`prepared ${Math.round(endpoint - start)} ms early`] : []; // false where one is missing
  const cut = /** @type {Record<string, string>} */ ({ interrupted: "interrupted", resumed: "a sound ignored" });
  return [...early, ...turn.outcome in cut ? [cut[turn.outcome]] : []].join(" · ");
}

export class Waterfall {
  constructor() {
    this.list = /** @type {HTMLElement} */ (document.getElementById("waterfalls"));
    this.legend = /** @type {HTMLElement} */ (document.getElementById("legend"));
    this.gap = /** @type {HTMLElement} */ (document.getElementById("gap"));
    this.unit = /** @type {HTMLElement} */ (document.getElementById("gap-unit"));
    this.quantiles = /** @type {HTMLElement} */ (document.getElementById("quantiles"));
    /** @type {Message[]} */
    this.turns = [];
    /** @type {number[]} */
    this.gaps = [];
    /** @type {Look | null} */
    this.running = null;
    /** @type {Set<string>} */
    this.shown = new Set();
  }

  /** @param {Message} turn A `turn` message. */
  add(turn) {
    if (turn.gap_ms === null) return;
    this.turns = [...this.turns.slice(1 - MAX_ROWS), turn];
    this.gap.textContent = String(Math.round(turn.gap_ms));
    this.unit.textContent = "ms";
    if (!NO_ANSWER.has(turn.outcome)) this.count(turn.gap_ms);
    this.show();
  }

  /** @param {number} gapMs */
  count(gapMs) {
    this.gaps = [...this.gaps.slice(1 - MAX_GAPS), gapMs];
    if (this.gaps.length < 2) return;
    const sorted = [...this.gaps].sort((a, b) => a - b);
    const [half, most] = [0.5, 0.95].map((share) => Math.round(quantile(sorted, share)));
    this.quantiles.textContent = `p50\u00a0${half}\u00a0ms · p95\u00a0${most}\u00a0ms · ${sorted.length}\u00a0turns`;
    this.quantiles.hidden = false;
  }

  /** @param {Look | null} look The turn that runs; null if none does. */
  run(look) {
    if (!look && !this.running) return;
    this.running = look;
    this.show();
  }

  show() {
    const { running } = this;
    const longest = Math.max(...this.turns.map((each) => each.gap_ms), running?.ms ?? 0, 1);
    const rows = this.turns.map((each) => this.row(each, longest));
    if (running) rows.push(this.live(running, longest));
    this.list.replaceChildren(...rows.reverse());
    this.legend.replaceChildren(...SEGMENTS.flatMap(([name, label], index) => {
      if (!this.shown.has(name)) return [];
      const item = document.createElement("li");
      const dot = document.createElement("i");
      dot.style.background = `var(--s${index})`;
      item.append(dot, label);
      return [item];
    }));
  }

  /**
   * The row of the turn that runs.
   * @param {Look} look
   * @param {number} longest
   */
  live({ segments, growing, ms }, longest) {
    const [row, , bar] = this.frame("now", segments, longest, ms);
    row.classList.add("live");
    bar.querySelector(`[data-segment="${growing}"]`)?.classList.add("growing");
    bar.setAttribute("aria-label", growing ? "The turn that runs" : `The turn that runs: ${Math.round(ms)} milliseconds`);
    return row;
  }

  /**
   * @param {Message} turn
   * @param {number} longest
   */
  row(turn, longest) {
    const [row, parts, bar] = this.frame(`#${turn.turn}`, turn.segments, longest, turn.gap_ms);
    bar.setAttribute("aria-label", `Turn ${turn.turn}: ${Math.round(turn.gap_ms)} milliseconds: ${parts.join(", ")}`);
    const words = remarks(turn);
    if (words) {
      const remark = document.createElement("span");
      remark.className = "remark";
      remark.textContent = words;
      row.append(remark);
    }
    return row;
  }

  /**
   * A row with its bar.
   * @param {string} name
   * @param {Record<string, number>} segments
   * @param {number} longest
   * @param {number} gapMs
   * @returns {[row: HTMLElement, parts: string[], bar: HTMLElement]}
   */
  frame(name, segments, longest, gapMs) {
    const row = document.createElement("li");
    row.className = "waterfall";
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.setAttribute("role", "img");
    const parts = [];
    for (const [index, [segment, label]] of SEGMENTS.entries()) {
      const ms = segment === "other" ? unknown(segments) : segments[segment] ?? 0;
      if (ms < 0.5) continue;
      this.shown.add(segment);
      parts.push(`${label} ${Math.round(ms)}`);
      const part = document.createElement("span");
      part.style.width = `${100 * ms / longest}%`;
      part.style.background = `var(--s${index})`;
      part.dataset.segment = segment;
      part.title = `${label}: ${Math.round(ms)} ms`;
      bar.append(part);
    }
    const number = document.createElement("span");
    number.textContent = name;
    const ms = document.createElement("span");
    ms.className = "ms";
    ms.textContent = `${Math.round(gapMs)} ms`;
    row.append(number, bar, ms);
    return [row, parts, bar];
  }
}
