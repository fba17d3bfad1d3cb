/** What a person sees: state, words, problems. It knows the document and nothing of sockets or sound. */

import { Lines } from "./lines.js";
import { modelsInUse, whoAnswers } from "./modes.js";

/** @typedef {import("./protocol.js").Message} Message */

const NAMES = /** @type {Record<string, string>} */ ({
  idle: "not connected", connecting: "connecting", reconnecting: "reconnecting", listening: "listening",
  transcribing: "transcribing", thinking: "thinking", speaking: "speaking", barge_in: "barge-in", closed: "ended",
});

/** Which trouble is shown where there are several: the first of these. */
const TROUBLES = /** @type {const} */ (["connection", "sound", "microphone"]);

/** @typedef {typeof TROUBLES[number]} Trouble */

/** How many sentences on back-ends in trouble are shown at a time. */
const MAX_BACKEND_TROUBLES = 3;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  return /** @type {T} */ (document.getElementById(id));
}

export class View {
  constructor() {
    this.lines = new Lines(element("turns"), element("partial"));
    /** @type {Map<Trouble, {what: string, hint: string, token: boolean}>} */
    this.troubles = new Map();
  }

  /** @param {string} state */
  state(state) {
    const pill = element("state");
    pill.dataset.state = state;
    pill.textContent = NAMES[state] ?? state;
  }

  /** @param {Message} welcome */
  welcome(welcome) {
    element("backend").textContent = whoAnswers(welcome);
    this.models(modelsInUse(welcome));
    element("local").hidden = welcome.backend !== "local";
    element("welcome").hidden = true;
    this.lines.welcome(welcome);
  }

  /** @param {[role: string, model: string][]} models */
  models(models) {
    const list = element("models");
    list.hidden = models.length === 0;
    list.replaceChildren(...models.flatMap((pair) => pair.map((text, index) => {
      const part = document.createElement(index ? "dd" : "dt");
      part.textContent = text;
      return part;
    })));
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

  /** @param {Message} message A `turn`. */
  turn(message) {
    if (message.outcome === "completed") /** @type {HTMLDetailsElement} */ (element("local")).open = false;
    this.lines.turn(message);
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

  /** @param {string} text A sentence on a back-end in trouble; it stays until the next start. */
  backendTrouble(text) {
    const list = element("backend-trouble");
    if ([...list.children].some((line) => line.textContent === text)) return;
    const line = document.createElement("p");
    line.textContent = text;
    list.append(line);
    if (list.children.length > MAX_BACKEND_TROUBLES) list.firstElementChild?.remove();
    list.hidden = false;
  }

  /** The back-ends are asked anew. */
  noBackendTrouble() {
    const list = element("backend-trouble");
    list.replaceChildren();
    list.hidden = true;
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
