/** The page's wiring: a session of connection, microphone and speaker, and what a person does with it. */

import { Connection } from "./connection.js";
import { keep } from "./memory.js";
import { explain, Microphone, MicrophoneError } from "./microphone.js";
import { Player } from "./player.js";
import { packFrame } from "./protocol.js";
import { element, View } from "./view.js";
import { Waterfall } from "./waterfall.js";

/** @typedef {import("./protocol.js").Message} Message */

const MAX_WAITING_LINES = 8;

class Session {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.waterfall = new Waterfall();
    /** @type {Connection | null} */
    this.connection = null;
    /** @type {Microphone | null} */
    this.microphone = null;
    /** @type {Player | null} */
    this.player = null;
    this.seq = 0;
    this.muted = false;
    this.talking = false;
    this.bargeIn = true; // the server lets speech interrupt the reply
    this.opening = false; // the browser asks for the microphone
    this.state = "idle";
    /** @type {Message[]} */
    this.turns = [];
    /** @type {string[]} */
    this.waiting = []; // lines typed before the session stood
  }

  /**
   * Begin, or add the microphone to what has begun. To be called from a click or a key, or there is no sound.
   * @param {boolean} withMicrophone
   */
  async start(withMicrophone) {
    if (!this.connection) this.view.noProblem();
    else if (withMicrophone) this.view.noProblem("microphone");
    this.player ??= new Player((message) => this.connection?.send(message), (running) => this.sound(running));
    await this.player.open();
    if (!this.connection) this.connect();
    this.view.controls(this.connection !== null, this.microphone !== null);
    if (withMicrophone && !this.microphone && !this.opening) await this.openMicrophone();
    if (this.connection) this.view.controls(true, this.microphone !== null);
    else await this.release(); // it was refused meanwhile
  }

  connect() {
    this.setState("connecting");
    this.connection = new Connection({
      message: (message) => this.message(message),
      frame: (frame) => this.player?.frame(frame),
      lost: (attempt) => {
        this.setState("reconnecting");
        this.player?.reset();
        this.view.problem("connection", "The connection to the server was lost.", `Trying again (${attempt}). What was said is kept.`);
      },
      closed: (refusal) => this.ended(refusal),
    });
    this.connection.open();
  }

  async openMicrophone() {
    const microphone = new Microphone({
      frame: (pcm, capturedMs, peak) => this.frame(pcm, capturedMs, peak),
      ended: (reason) => { if (this.microphone === microphone) this.noMicrophone(reason); },
      running: (running) => this.sound(running),
    });
    this.opening = true;
    try {
      await microphone.open();
      this.microphone = microphone;
      this.attend();
      await this.listMicrophones();
    } catch (error) {
      await this.noMicrophone(error instanceof MicrophoneError ? error : explain(error));
    } finally {
      this.opening = false;
    }
  }

  /** Let a microphone that has just been opened listen as it should. */
  attend() {
    const { microphone, player } = this;
    if (!microphone) return;
    const { port1, port2 } = new MessageChannel();
    player?.link(port1);
    microphone.link(port2);
    this.hush();
  }

  /** Mute the microphone or not, and let it soften the reply or not. */
  hush() {
    this.microphone?.mute(this.muted);
    this.microphone?.mayDuck(this.bargeIn && !this.muted);
  }

  /** @param {string} deviceId */
  async chooseMicrophone(deviceId) {
    try {
      await this.microphone?.choose(deviceId);
      this.attend();
      this.view.noProblem("microphone");
    } catch (error) {
      await this.noMicrophone(error instanceof MicrophoneError ? error : explain(error));
    }
  }

  /**
   * Go on without a microphone, and say why.
   * @param {MicrophoneError} reason
   */
  async noMicrophone(reason) {
    const { microphone } = this;
    this.microphone = null;
    this.view.problem("microphone", reason.message, reason.hint);
    this.view.controls(this.connection !== null, false);
    await microphone?.close();
  }

  async listMicrophones() {
    const select = /** @type {HTMLSelectElement} */ (element("microphones"));
    const devices = await Microphone.devices();
    select.replaceChildren(...devices.map((device, index) => {
      const option = new Option(device.label || `Microphone ${index + 1}`, device.deviceId);
      option.selected = device.deviceId === this.microphone?.deviceId;
      return option;
    }));
  }

  /**
   * @param {Int16Array} pcm
   * @param {number} capturedMs
   * @param {number} peak
   */
  frame(pcm, capturedMs, peak) {
    this.view.level(this.muted ? 0 : peak);
    if (this.muted || !this.connection?.ready) return;
    this.connection.sendFrame(packFrame(this.seq++, capturedMs, pcm));
  }

  /** @param {Message} message */
  message(message) {
    const { view } = this;
    switch (message.type) {
      case "welcome":
        this.seq = 0; // the server counts each connection's frames
        view.noProblem("connection");
        view.welcome(message);
        view.hints(message.hints, (hint) => this.type(hint));
        this.bargeIn = message.barge_in !== false;
        this.hush();
        this.setState("listening");
        this.talking = false;
        element("ptt").setAttribute("aria-pressed", "false");
        if (this.muted) this.connection?.send({ type: "mute", muted: true });
        for (const text of this.waiting.splice(0)) this.connection?.send({ type: "text", text });
        break;
      case "state": this.setState(message.state); break;
      case "transcript": view.transcript(message); break;
      case "reply_text": view.replyText(message); break;
      case "heard": view.heard(message); break;
      case "turn":
        this.turns.push(message);
        view.turn(message);
        this.waterfall.add(message);
        break;
      case "notice": view.notice(message.message); break;
      case "error":
        if (!message.fatal) view.notice(message.message);
        break;
      default: this.player?.control(message);
    }
  }

  /** @param {string} state */
  setState(state) {
    this.state = state;
    this.view.state(state);
    if (state === "transcribing") this.view.notice("");
  }

  /** @param {string} text */
  async type(text) {
    if (!this.connection?.ready) {
      this.waiting = [...this.waiting.slice(1 - MAX_WAITING_LINES), text];
      await this.start(false);
    } else {
      this.connection.send({ type: "text", text });
    }
  }

  /** @param {boolean} down */
  talk(down) {
    if (down === this.talking || !this.connection?.ready || !this.microphone) return;
    this.talking = down;
    element("ptt").setAttribute("aria-pressed", String(down));
    this.connection.send({ type: "ptt", down });
  }

  mute() {
    this.muted = !this.muted;
    this.hush();
    this.connection?.send({ type: "mute", muted: this.muted });
    element("mute").setAttribute("aria-pressed", String(this.muted));
    element("mute").textContent = this.muted ? "Unmute" : "Mute";
  }

  /** @param {boolean} running Whether the browser lets sound in or out. */
  sound(running) {
    if (!running && this.connection) this.view.problem("sound", "The browser has stopped the sound.", "Tap anywhere to go on.");
    else this.view.noProblem("sound");
  }

  /** Go on with what the browser has stopped; it listens only to a click. */
  resume() {
    this.player?.context?.resume();
    this.microphone?.context?.resume();
  }

  /** Let go of the microphone and the speaker. */
  async release() {
    const { microphone, player } = this;
    this.microphone = null;
    this.player = null;
    this.view.controls(false);
    await microphone?.close();
    await player?.close();
  }

  /** @param {Message | null} refusal */
  async ended(refusal) {
    this.connection = null;
    this.setState("closed");
    if (refusal) this.view.problem("connection", refusal.message, refusal.hint, { token: refusal.code === "token" });
    await this.release();
  }
}

const view = new View();
const session = new Session(view);

element("start").onclick = () => session.start(true);
element("hang-up").onclick = () => session.connection?.hangUp();
element("mute").onclick = () => session.mute();
const ptt = element("ptt");
ptt.onpointerdown = () => session.talk(true);
ptt.onpointerup = ptt.onpointerleave = ptt.onpointercancel = () => session.talk(false);
/** @param {KeyboardEvent} event */
const isTalkKey = (event) => event.code === "Space" && !(event.target instanceof HTMLInputElement)
  && !(event.target instanceof HTMLSelectElement) && (!(event.target instanceof HTMLButtonElement) || event.target === ptt);
addEventListener("keydown", (event) => {
  if (!isTalkKey(event)) return;
  event.preventDefault();
  session.talk(true);
});
addEventListener("keyup", (event) => { if (isTalkKey(event)) session.talk(false); });
addEventListener("blur", () => session.talk(false));
addEventListener("click", () => session.resume());
element("text-form").onsubmit = (event) => {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (element("text"));
  const text = input.value.trim();
  input.value = "";
  if (text) session.type(text);
};
element("token-form").onsubmit = (event) => {
  event.preventDefault();
  keep("token", /** @type {HTMLInputElement} */ (element("token")).value.trim());
  session.start(true);
};
const microphones = /** @type {HTMLSelectElement} */ (element("microphones"));
microphones.onchange = () => session.chooseMicrophone(microphones.value);
navigator.mediaDevices?.addEventListener("devicechange", () => { if (session.microphone) session.listMicrophones(); });
if (!window.isSecureContext) {
  view.problem("microphone", "Without HTTPS the browser gives this page no microphone.", "Open it by https, or type below.");
}

/** A snapshot for tests and the curious. */
Object.defineProperty(window, "voiceagent", {
  get: () => ({ state: session.state, turns: [...session.turns], session: session.connection?.resumeToken ?? "" }),
});
