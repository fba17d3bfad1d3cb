/** A small waterfall for each turn: where the silence between the question and the answer went. */

/** @typedef {import("./protocol.js").Message} Message */

const SEGMENTS = [
  ["uplink", "to the server"], ["endpoint_wait", "waiting for the end"], ["stt_tail", "last words"], ["queue", "queue"],
  ["llm_ttft", "language model"], ["clause_wait", "first clause"], ["tts_ttfb", "voice"],
  ["model_ttfa", "voice model: time to first audio"], ["gate_wait", "gate"], ["send", "sending"], ["network", "to the browser"], ["playback", "audio buffer"], ["leading_silence", "silence in the audio"], ["other", "other"],
];
const KNOWN = new Set(SEGMENTS.map(([name]) => name));
const MAX_ROWS = 6;

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
    /** @type {Message[]} */
    this.turns = [];
    /** @type {Set<string>} */
    this.shown = new Set();
  }

  /** @param {Message} turn A `turn` message. */
  add(turn) {
    if (turn.gap_ms === null) return;
    this.turns = [...this.turns.slice(1 - MAX_ROWS), turn];
    this.gap.textContent = String(Math.round(turn.gap_ms));
    this.unit.textContent = "ms";
    const longest = Math.max(...this.turns.map((each) => each.gap_ms), 1);
    this.list.replaceChildren(...this.turns.map((each) => this.row(each, longest)).reverse());
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
   * @param {Message} turn
   * @param {number} longest
   */
  row(turn, longest) {
    const row = document.createElement("li");
    row.className = "waterfall";
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.setAttribute("role", "img");
    const parts = [];
    for (const [index, [name, label]] of SEGMENTS.entries()) {
      const ms = name === "other" ? unknown(turn.segments) : turn.segments[name] ?? 0;
      if (ms < 0.5) continue;
      this.shown.add(name);
      parts.push(`${label} ${Math.round(ms)}`);
      const part = document.createElement("span");
      part.style.width = `${100 * ms / longest}%`;
      part.style.background = `var(--s${index})`;
      part.title = `${label}: ${Math.round(ms)} ms`;
      bar.append(part);
    }
    bar.setAttribute("aria-label", `Turn ${turn.turn}: ${Math.round(turn.gap_ms)} milliseconds: ${parts.join(", ")}`);
    const number = document.createElement("span");
    number.textContent = `#${turn.turn}`;
    const ms = document.createElement("span");
    ms.className = "ms";
    ms.textContent = `${Math.round(turn.gap_ms)} ms`;
    row.append(number, bar, ms);
    const words = remarks(turn);
    if (words) {
      const remark = document.createElement("span");
      remark.className = "remark";
      remark.textContent = words;
      row.append(remark);
    }
    return row;
  }
}
