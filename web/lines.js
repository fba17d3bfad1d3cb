/** The conversation in writing: the user's lines and the agent's by turn, each in its place however late it comes. */

/** @typedef {import("./protocol.js").Message} Message */

/** How much of what was not heard is shown, in characters. */
const MAX_UNHEARD = 120;

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

  /** Whether the words may still change; a screen reader waits for them. */
  get coming() {
    return this.item.classList.contains("coming");
  }

  set coming(coming) {
    this.item.classList.toggle("coming", coming);
    this.item.setAttribute("aria-live", coming ? "off" : "polite");
  }
}

export class Lines {
  /**
   * @param {HTMLElement} turns The list of lines.
   * @param {HTMLElement} partial What is being said, below the list.
   */
  constructor(turns, partial) {
    this.turns = turns;
    this.partial = partial;
    /** @type {Map<number, {you?: Line, agent?: Line, epoch: number, phrases: string[]}>} */
    this.lines = new Map();
    this.spoken = { turn: 0, text: "" }; // what `partial` shows
  }

  /** @param {Message} welcome A conversation begins, or goes on with what is kept of it. */
  welcome({ resumed, history }) {
    if (!resumed) {
      this.turns.replaceChildren();
      this.lines.clear();
    } else if (this.lines.size === 0) {
      for (const turn of history) this.remember(turn);
    }
    this.speak(0, "");
  }

  /** @param {string} name Another mode answers from here on. */
  modeChanged(name) {
    const item = document.createElement("li");
    item.className = "change";
    item.textContent = `From here on: ${name.toLowerCase()}`;
    this.turns.append(item);
    this.scroll();
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
      this.turns.insertBefore(line.item, this.follower(turn, who));
    }
    return line;
  }

  /**
   * What a line stands before, however late it comes: its own turn's reply, or the first line of a later turn.
   * @param {number} turn
   * @param {"you" | "agent"} who
   * @returns {HTMLElement | null} Null if it is the last one.
   */
  follower(turn, who) {
    const reply = who === "you" && this.lines.get(turn)?.agent;
    if (reply) return reply.item;
    const later = [...this.lines].filter(([number]) => number > turn).sort(([a], [b]) => a - b);
    return later.map(([, { you, agent }]) => you ?? agent).find((line) => line)?.item ?? null;
  }

  /** @param {Message} message A `transcript`: a voice model's reply may have begun before it comes. */
  transcript({ turn, text, final }) {
    const known = this.lines.get(turn);
    const late = turn < this.spoken.turn; // somebody says the next thing already
    if (!final && !late && !known?.agent && !known?.you?.coming) {
      this.speak(turn, text);
      return;
    }
    if (!late) this.speak(0, "");
    this.write(turn, text, final);
  }

  /**
   * Show what is being said below the lines.
   * @param {number} turn 0 if nobody says anything.
   * @param {string} text
   */
  speak(turn, text) {
    this.spoken = { turn, text };
    this.partial.textContent = text;
  }

  /**
   * Write the user's words into their line.
   * @param {number} turn
   * @param {string} text
   * @param {boolean} final
   */
  write(turn, text, final) {
    const known = this.lines.get(turn);
    if (text) {
      const line = this.line(turn, "you");
      line.coming = !final;
      line.words.textContent = text;
      this.scroll();
    } else if (known?.you?.coming) {
      known.you.item.remove();
      delete known.you;
    }
  }

  /**
   * What is still being said below the lines belongs into its line: its reply begins, or its turn is over.
   * @param {number} turn
   * @param {boolean} final
   */
  settle(turn, final) {
    const { spoken } = this;
    if (spoken.turn !== turn) return;
    this.speak(0, "");
    this.write(turn, spoken.text, final);
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
    this.settle(message.turn, false);
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
    const known = this.lines.get(message.turn);
    if (message.outcome === "discarded" || message.outcome === "reopened") {
      known?.you?.item.remove();
      known?.agent?.item.remove();
      this.lines.delete(message.turn);
      if (this.spoken.turn <= message.turn) this.speak(0, "");
    } else {
      this.settle(message.turn, true);
      if (known?.you) known.you.coming = false;
    }
  }

  scroll() {
    this.turns.scrollTop = this.turns.scrollHeight;
  }
}
