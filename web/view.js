/** What a person sees: state, words, problems. It knows the document and nothing of sockets or sound. */

/** @typedef {import("./protocol.js").Message} Message */

const NAMES = /** @type {Record<string, string>} */ ({
  idle: "not connected", connecting: "connecting", reconnecting: "reconnecting", listening: "listening",
  transcribing: "transcribing", thinking: "thinking", speaking: "speaking", barge_in: "barge-in", closed: "ended",
});

/** Which trouble is shown where there are several: the first of these. */
const TROUBLES = /** @type {const} */ (["connection", "sound", "microphone"]);

/** @typedef {typeof TROUBLES[number]} Trouble */

/** How much of what was not heard is shown, in characters. */
const MAX_UNHEARD = 120;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/** The conversation's lines: the user's words and the agent's, by turn. */
class Line {
  /** @param {string} who */
  constructor(who) {
    this.item = document.createElement("li");
    this.item.className = `said ${who}`;
    const label = document.createElement("span");
    label.className = "who";
    label.textContent = who === "you" ? "You" : "Agent";
    this.words = document.createElement("span");
    this.item.append(label, this.words);
  }
}

export class View {
  constructor() {
    this.turns = element("turns");
    /** @type {Map<Trouble, {what: string, hint: string, token: boolean}>} */
    this.troubles = new Map();
    /** @type {Map<number, {you?: Line, agent?: Line, epoch: number, phrases: string[]}>} */
    this.lines = new Map();
  }

  /** @param {string} state */
  state(state) {
    const pill = element("state");
    pill.dataset.state = state;
    pill.textContent = NAMES[state] ?? state;
  }

  /** @param {Message} welcome */
  welcome(welcome) {
    const names = Object.values(welcome.models).join(" · ");
    element("backend").textContent = welcome.backend === "local" ? "local twin" : names;
    element("local").hidden = welcome.backend !== "local";
    element("welcome").hidden = true;
    if (!welcome.resumed) {
      this.turns.replaceChildren();
      this.lines.clear();
    } else if (this.lines.size === 0) {
      for (const turn of welcome.history) this.remember(turn);
    }
  }

  /**
   * @param {string[]} hints
   * @param {(hint: string) => void} onHint
   */
  hints(hints, onHint) {
    element("hints").replaceChildren(...hints.map((hint) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = hint;
      chip.onclick = () => onHint(hint);
      return chip;
    }));
  }

  /** @param {{turn: number, user: string, reply: string, interrupted: boolean}} turn */
  remember(turn) {
    if (turn.user) this.line(turn.turn, "you").words.textContent = turn.user;
    if (turn.reply) this.line(turn.turn, "agent").words.textContent = turn.reply + (turn.interrupted ? " …" : "");
  }

  /**
   * @param {number} turn
   * @param {"you" | "agent"} who
   */
  line(turn, who) {
    const known = this.lines.get(turn) ?? { epoch: 0, phrases: [] };
    this.lines.set(turn, known);
    let line = known[who];
    if (!line) {
      line = known[who] = new Line(who);
      const other = who === "you" ? known.agent : undefined;
      if (other) this.turns.insertBefore(line.item, other.item);
      else this.turns.append(line.item);
    }
    return line;
  }

  /** @param {Message} message A `transcript`. */
  transcript(message) {
    if (!message.final) {
      element("partial").textContent = message.text;
      return;
    }
    element("partial").textContent = "";
    if (!message.text) return;
    this.line(message.turn, "you").words.textContent = message.text;
    this.scroll();
  }

  /** @param {Message} message A `reply_text`. */
  replyText(message) {
    const line = this.line(message.turn, "agent");
    const known = this.lines.get(message.turn);
    if (!known) return;
    if (message.epoch > known.epoch) {
      known.epoch = message.epoch;
      known.phrases = [];
      line.words.replaceChildren();
    }
    // A phrase is a node of its own: a screen reader speaks what is new and not the whole again.
    line.words.append((known.phrases.length ? " " : "") + message.text);
    known.phrases.push(message.text);
    this.scroll();
  }

  /** @param {Message} message A `heard`: the rest of an interrupted reply is struck out. */
  heard(message) {
    const known = this.lines.get(message.turn);
    if (!known?.agent || !message.interrupted) return;
    const rest = document.createElement("del");
    const unheard = known.phrases.join(" ").slice(message.text.length);
    rest.textContent = unheard.length > MAX_UNHEARD ? `${unheard.slice(0, MAX_UNHEARD)} …` : unheard;
    known.agent.words.replaceChildren(message.text, rest);
  }

  /** @param {Message} message A `flushed` with no sample: what nobody heard was not said. */
  unheard(message) {
    const known = this.lines.get(message.turn);
    if (!known?.agent || known.epoch !== message.epoch) return;
    known.agent.item.remove();
    delete known.agent;
    known.phrases = [];
  }

  /** @param {Message} message A `turn`: what was nothing leaves no line. */
  turn(message) {
    if (message.outcome === "completed") /** @type {HTMLDetailsElement} */ (element("local")).open = false;
    if (message.outcome === "discarded" || message.outcome === "reopened") {
      const known = this.lines.get(message.turn);
      known?.you?.item.remove();
      known?.agent?.item.remove();
      this.lines.delete(message.turn);
      element("partial").textContent = "";
    }
  }

  scroll() {
    this.turns.scrollTop = this.turns.scrollHeight;
  }

  /**
   * @param {Trouble} kind What is in trouble: only its own recovery takes the words away.
   * @param {string} what
   * @param {string} hint
   * @param {{token?: boolean}} [options]
   */
  problem(kind, what, hint, { token = false } = {}) {
    this.troubles.set(kind, { what, hint, token });
    this.showTrouble();
  }

  /** @param {Trouble} [kind] Which trouble is over; all of them if none is named. */
  noProblem(kind) {
    if (kind === undefined) this.troubles.clear();
    else this.troubles.delete(kind);
    this.showTrouble();
  }

  showTrouble() {
    const kind = TROUBLES.find((each) => this.troubles.has(each));
    const trouble = kind && this.troubles.get(kind);
    element("problem").hidden = !trouble;
    if (!trouble) return;
    element("problem-what").textContent = trouble.what;
    element("problem-hint").textContent = trouble.hint;
    element("token-form").hidden = !trouble.token;
  }

  /** @param {string} text */
  notice(text) {
    element("notice").textContent = text;
  }

  /** @param {boolean} running Whether a session runs. */
  controls(running, microphone = false) {
    element("start").hidden = running && microphone;
    element("start").textContent = running ? "Use the microphone" : "Start";
    element("hang-up").hidden = !running;
    for (const id of ["mute", "ptt", "level", "microphone-choice"]) element(id).hidden = !(running && microphone);
  }

  /** @param {number} peak */
  level(peak) {
    /** @type {HTMLMeterElement} */ (element("level")).value = Math.min(1, Math.sqrt(peak));
  }
}
