/** The page's wiring: a session of connection, microphone and speaker, and what a person does with it. */

import { Connection } from "./connection.js";
import { Drawer } from "./drawer.js";
import { EchoTest } from "./echo.js";
import { Inspector } from "./inspector.js";
import { keep } from "./memory.js";
import { explain, Microphone, MicrophoneError } from "./microphone.js";
import { modeName, wishedMode } from "./modes.js";
import { Output } from "./output.js";
import { Player } from "./player.js";
import { packFrame } from "./protocol.js";
import { onTalkKey } from "./talkkey.js";
import { element, View } from "./view.js";

/** @typedef {import("./protocol.js").Message} Message */

const MAX_WAITING_LINES = 8;
const MAX_TEST_MS = 10000;

class Session {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.inspector = new Inspector();
    this.output = new Output(element("speaker"));
    this.drawer = new Drawer(this.output, {
      changeMode: () => this.changeMode(),
      tune: (patience) => this.connection?.send({ type: "tune", patience }),
      testEcho: () => this.testEcho(),
    });
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
    this.mode = ""; // in which the server answers
    this.filler = -1; // the epoch that only bridges a wait
    /** @type {EchoTest | null} */
    this.echoTest = null;
    /** @type {string[]} */
    this.waiting = []; // lines typed before the session stood
  }

  /**
   * Begin, or add the microphone to what has begun. To be called from a click or a key, or there is no sound.
   * @param {boolean} withMicrophone
   */
  async start(withMicrophone) {
    if (!this.connection) {
      this.view.noProblem();
      this.view.noBackendTrouble();
    } else if (withMicrophone) this.view.noProblem("microphone");
    this.player ??= new Player((message) => this.played(message), (running) => this.sound(running), this.output);
    await this.player.open();
    if (!this.connection) this.connect();
    this.controls();
    if (withMicrophone && !this.microphone && !this.opening) await this.openMicrophone();
    if (this.connection) this.controls();
    else await this.release(); // it was refused meanwhile
  }

  /** Show what there is to press. */
  controls() {
    this.view.controls(this.connection !== null, this.microphone !== null);
    this.drawer.mayTest(this.obstacle);
  }

  /** Why the echo cannot be tested now, in words; empty if it can. */
  get obstacle() {
    if (!this.connection || !this.microphone) return "For the test press Start and allow the microphone.";
    if (this.muted) return "For the test unmute the microphone.";
    if (this.state !== "listening") return "The test waits until nobody speaks.";
    return "";
  }

  connect() {
    this.setState("connecting");
    this.connection = new Connection({
      message: (message) => this.message(message),
      frame: (frame) => {
        if (frame.filler) this.filler = frame.epoch;
        this.player?.frame(frame);
      },
      lost: (attempt) => {
        this.setState("reconnecting");
        this.inspector.rest();
        this.player?.reset();
        this.view.problem("connection", "The connection to the server was lost.", `Trying again for a minute (${attempt}). What was said is kept.`);
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
      await this.drawer.listOutputs(); // now the devices have names
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
    this.drawer.mayTest(this.obstacle);
  }

  /**
   * Measure how loud the microphone hears the agent, while the server hears nothing.
   * @returns {Promise<number | null>} In dB; null if it was broken off.
   */
  async testEcho() {
    if (this.obstacle || this.echoTest) return null;
    const test = this.echoTest = new EchoTest((sound) => this.player?.play(sound));
    const limit = setTimeout(() => test.cancel(), MAX_TEST_MS);
    this.connection?.send({ type: "mute", muted: true });
    const gainDb = await test.result;
    clearTimeout(limit);
    this.echoTest = null;
    if (!this.muted) this.connection?.send({ type: "mute", muted: false });
    if (gainDb !== null) this.connection?.send({ type: "echo_test", gain_db: gainDb });
    return gainDb;
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
    this.echoTest?.cancel();
    this.view.problem("microphone", reason.message, reason.hint);
    this.controls();
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
    if (!this.muted) this.inspector.level(peak);
    if (this.echoTest) {
      this.echoTest.frame(pcm);
      return;
    }
    if (this.muted || !this.connection?.ready) return;
    this.connection.sendFrame(packFrame(this.seq++, capturedMs, pcm));
  }

  /** @param {Message} message What the speaker has done. */
  played(message) {
    this.connection?.send(message);
    if (message.type === "started" && message.epoch !== this.filler) this.inspector.started(message);
    if (message.type === "flushed" && message.samples === 0) this.view.lines.unheard(message);
  }

  /** @param {Message} message */
  message(message) {
    const { view } = this;
    if (message.type === "reply_text" && message.epoch === this.filler) return; // it is no reply: nothing to read
    this.inspector.message(message);
    switch (message.type) {
      case "welcome":
        this.seq = 0; // the server counts each connection's frames
        view.noProblem("connection");
        view.welcome(message);
        view.hints(message.hints, (hint) => this.type(hint));
        this.bargeIn = message.barge_in !== false;
        this.filler = -1;
        this.drawer.welcome(message);
        if (message.resumed && this.mode && this.mode !== message.mode) view.lines.modeChanged(modeName(message.mode));
        this.mode = message.mode;
        this.setState("listening");
        this.hush();
        this.talking = false;
        element("ptt").setAttribute("aria-pressed", "false");
        if (this.followMode()) break;
        if (this.muted) this.connection?.send({ type: "mute", muted: true });
        for (const text of this.waiting.splice(0)) this.connection?.send({ type: "text", text });
        break;
      case "state":
        this.setState(message.state === "speaking" && message.epoch === this.filler ? "thinking" : message.state);
        break;
      case "transcript": view.lines.transcript(message); break;
      case "reply_text": view.lines.replyText(message); break;
      case "heard": view.lines.heard(message); break;
      case "turn":
        view.turn(message);
        this.followMode(); // not at the state before it: a turn's last words and its record come after that
        break;
      case "notice":
        if (message.code === "backend_trouble") view.backendTrouble(message.message);
        else view.notice(message.message);
        break;
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
    if (state !== "listening") this.echoTest?.cancel();
    this.drawer.mayTest(this.obstacle);
  }

  changeMode() {
    this.drawer.sayOfMode("");
    if (!this.followMode() && this.otherMode) this.drawer.sayOfMode("It changes once nobody speaks; the conversation goes on.");
  }

  /** Whether another mode was chosen than the server answers in, and not yet asked for. */
  get otherMode() {
    const wish = wishedMode();
    return wish !== null && wish !== this.mode && wish !== this.connection?.mode;
  }

  /**
   * Go on in the mode that was chosen, in a new session; neither a question nor its answer is broken off for it.
   * @returns {boolean} Whether that session begins now.
   */
  followMode() {
    const { connection } = this;
    if (!connection?.ready || this.state !== "listening" || !this.otherMode) return false;
    this.setState("connecting");
    this.player?.reset();
    this.view.noBackendTrouble();
    connection.renew();
    return true;
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
    this.echoTest?.cancel();
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
    this.controls();
    await microphone?.close();
    await player?.close();
  }

  /** @param {Message | null} refusal */
  async ended(refusal) {
    this.connection = null;
    this.setState("closed");
    this.inspector.rest();
    if (refusal) this.view.problem("connection", refusal.message, refusal.hint, { token: refusal.code === "token" });
    await this.release();
  }
}

const view = new View();
const session = new Session(view);
session.controls();

element("start").onclick = () => session.start(true);
element("hang-up").onclick = () => session.connection?.hangUp();
element("mute").onclick = () => session.mute();
const ptt = element("ptt");
ptt.onpointerdown = () => session.talk(true);
ptt.onpointerup = ptt.onpointerleave = ptt.onpointercancel = () => session.talk(false);
onTalkKey(ptt, (down) => session.talk(down));
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
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (session.microphone) session.listMicrophones();
  session.drawer.listOutputs();
});
if (!window.isSecureContext) {
  view.problem("microphone", "Without HTTPS the browser gives this page no microphone.", "Open it by https, or type below.");
}

/** A snapshot for tests and the curious. */
Object.defineProperty(window, "voiceagent", {
  get: () => ({ state: session.state, mode: session.mode, turns: [...session.inspector.records.turns], session: session.connection?.resumeToken ?? "" }),
});
