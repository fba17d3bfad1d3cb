/** What the page has seen of its sessions: turns, moves of the state machine and words, for who wants to keep them. */

/** @typedef {import("./protocol.js").Message} Message */

/**
 * A move of the state machine.
 * @typedef {object} Move
 * @property {string} session
 * @property {number} turn
 * @property {number} epoch
 * @property {number} at_ms Since the session began.
 * @property {string} from
 * @property {string} trigger
 * @property {string} to
 * @property {number} dwell_ms How long the session had been in `from`.
 */

/** @typedef {{user: string, reply: string, heard: string}} Words */

const SCHEMA = "voice.page/1";
const MAX_TURNS = 1000;
const MAX_MOVES = 8000;
const MAX_SESSIONS = 100;

export class Records {
  constructor() {
    /** @type {Message[]} */
    this.turns = [];
    /** @type {{session: string, mode: string, backend: string, models: Record<string, string>}[]} */
    this.sessions = [];
    /** @type {Move[]} */
    this.moves = [];
    /** @type {Map<string, Words>} By session and turn. */
    this.words = new Map();
    /** @type {WeakMap<Message, string>} The session of each turn. */
    this.origins = new WeakMap();
    this.dropped = { turns: 0, transitions: 0 };
    this.session = "";
    this.leaf = "listening";
    this.sinceMs = 0;
    this.epoch = 0; // of the words
  }

  /** @param {Message} welcome */
  welcome({ session, mode, backend, models }) {
    this.session = session;
    this.leaf = "listening";
    this.sinceMs = 0;
    this.epoch = 0;
    if (this.sessions.at(-1)?.session === session) return;
    this.sessions = [...this.sessions.slice(1 - MAX_SESSIONS), { session, mode, backend, models }];
  }

  /**
   * @param {Message} state
   * @returns {Move | null} Null if the machine has not moved.
   */
  state({ turn, epoch, at_ms, trigger, leaf }) {
    if (leaf === this.leaf) return null;
    const move = { session: this.session, turn, epoch, at_ms, from: this.leaf, trigger, to: leaf, dwell_ms: Math.max(0, at_ms - this.sinceMs) };
    this.leaf = leaf;
    this.sinceMs = at_ms;
    this.moves.push(move);
    if (this.moves.length > MAX_MOVES) this.dropped.transitions += this.moves.splice(0, 1).length;
    return move;
  }

  /** @param {Message} turn A `turn`. */
  turn(turn) {
    this.turns.push(turn);
    this.origins.set(turn, this.session);
    if (this.turns.length > MAX_TURNS) this.dropped.turns += this.turns.splice(0, 1).length;
  }

  /** @param {Message} message A `transcript`, `reply_text` or `heard`. */
  said(message) {
    const key = `${this.session} ${message.turn}`;
    const words = this.words.get(key) ?? { user: "", reply: "", heard: "" };
    this.words.set(key, words);
    if (message.type === "transcript") words.user = message.text;
    else if (message.type === "heard") words.heard = message.text;
    else {
      words.reply = message.epoch > this.epoch || !words.reply ? message.text : `${words.reply} ${message.text}`;
      this.epoch = message.epoch;
    }
    if (this.words.size > MAX_TURNS) this.words.delete([...this.words.keys()][0]);
  }

  /**
   * Everything that was seen, as docs/page.md has it.
   * @param {{content: boolean}} options Whether the words are in it.
   */
  export({ content }) {
    return {
      schema: SCHEMA,
      fields_of: ["voice.turn/1", "voice.transition/1"],
      timestamp: new Date().toISOString(),
      sessions: this.sessions,
      turns: this.turns.map((turn) => this.line(turn, content)),
      transitions: this.moves.map((move) => ({ event: "transition", ...move })),
      dropped: this.dropped,
    };
  }

  /**
   * @param {Message} turn
   * @param {boolean} content
   */
  line(turn, content) {
    const { type: event, segments: segments_ms, marks: marks_ms, ...rest } = turn;
    const session = this.origins.get(turn) ?? "";
    const words = content ? this.words.get(`${session} ${turn.turn}`) : undefined;
    return { event, session, ...rest, segments_ms, marks_ms, ...words && { content: words } };
  }
}
