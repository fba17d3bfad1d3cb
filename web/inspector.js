/** The page's look at itself: the waterfalls, and a drawer with the state machine, its last moves, and the export. */

import { LiveTurn } from "./live.js";
import { leafName, Machine } from "./machine.js";
import { keep, recall } from "./memory.js";
import { Records } from "./records.js";
import { element } from "./view.js";
import { Waterfall } from "./waterfall.js";

/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./records.js").Move} Move */

const FRAME_MS = 50; // between two looks at what grows
const MAX_SHOWN_MOVES = 6;

export class Inspector {
  constructor() {
    this.records = new Records();
    this.live = new LiveTurn();
    this.waterfall = new Waterfall();
    this.machine = new Machine(element("diagram"));
    this.moves = element("moves");
    this.drawer = /** @type {HTMLDetailsElement} */ (element("inspector"));
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.drawnMs = 0;
    this.asked = false; // for the next frame
    this.drawer.open = recall("inspector") === "open";
    this.drawer.ontoggle = () => keep("inspector", this.drawer.open ? "open" : "");
    element("export").onclick = () => this.save();
  }

  /** @param {Message} message What the server said. */
  message(message) {
    switch (message.type) {
      case "welcome":
        this.records.welcome(message);
        this.live.welcome(message);
        this.machine.at("listening");
        break;
      case "state": this.state(message); break;
      case "turn":
        this.records.turn(message);
        if (message.turn === this.live.turn) this.live.clear();
        this.waterfall.add(message);
        this.draw();
        break;
      case "transcript": case "reply_text": case "heard": this.records.said(message); break;
      default:
    }
  }

  /** @param {Message} message */
  state(message) {
    this.live.state(message, performance.now());
    const move = this.records.state(message);
    if (move) {
      this.machine.move(move);
      this.list(move);
    }
    this.draw();
  }

  /** @param {Message} message A `started`, not of what only bridges a wait. */
  started(message) {
    this.live.started(message);
    this.draw();
  }

  /** @param {number} peak Of a frame of the microphone. */
  level(peak) {
    this.live.level(peak, performance.now());
  }

  /** There is no session, or none that can be heard of. */
  rest() {
    this.live.clear();
    this.machine.at("");
    this.draw();
  }

  /** Show what is known now, and again while it grows; who wants little motion sees the steps alone. */
  draw() {
    const look = this.live.look(performance.now());
    this.drawnMs = performance.now();
    this.waterfall.run(look);
    if (!look?.growing || this.calm.matches || this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.next());
  }

  next() {
    this.asked = false;
    if (performance.now() - this.drawnMs >= FRAME_MS) this.draw();
    else {
      this.asked = true;
      requestAnimationFrame(() => this.next());
    }
  }

  /** @param {Move} move */
  list(move) {
    const item = document.createElement("li");
    const trigger = document.createElement("code");
    trigger.textContent = move.trigger;
    const where = document.createElement("span");
    where.textContent = `${leafName(move.from)} → ${leafName(move.to)}`;
    const how = document.createElement("span");
    how.className = "quiet";
    how.append("by ", trigger, ` after ${seconds(move.dwell_ms)}`);
    item.append(where, " ", how);
    this.moves.prepend(item);
    if (this.moves.children.length > MAX_SHOWN_MOVES) this.moves.lastElementChild?.remove();
    element("no-moves").hidden = true;
  }

  /** Give everything that was seen to the person, as a file. */
  save() {
    const { checked: content } = /** @type {HTMLInputElement} */ (element("export-content"));
    const blob = new Blob([JSON.stringify(this.records.export({ content }), null, 1)], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `voiceagent-${this.records.session || "page"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  }
}

/** @param {number} ms */
function seconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
