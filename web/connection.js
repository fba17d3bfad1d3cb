/** One WebSocket to the server: hello, pings answered at once, and a lost network come back to with the resume token. */

import { keep, recall, recallNumber } from "./memory.js";
import { wishedMode } from "./modes.js";
import { VERSION, unpackFrame } from "./protocol.js";

/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").ReplyFrame} ReplyFrame */

const RETRY_MS = [250, 500, 1000, 2000, 4000, 5000]; // and then as the last one
const KEPT_MS = 60000; // so long the server keeps a lost conversation
const FIRST_MS = 15000; // there is no conversation yet
const CONNECT_TIMEOUT_MS = 25000;
const MAX_WAITING_BYTES = 512 * 1024;

const LOST = {
  type: "error", code: "lost", message: "The server cannot be reached.", hint: "See whether it runs, then press Start.",
};

/**
 * @typedef {object} Listener
 * @property {(message: Message) => void} message
 * @property {(frame: ReplyFrame) => void} frame
 * @property {(attempt: number) => void} lost The network is gone; another attempt will be made.
 * @property {(refusal: Message | null) => void} closed It is over: refused (with the server's words), or hung up.
 */

export class Connection {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** Kept over a reload of the page; of a hung-up conversation nothing is kept. */
    this.resumeToken = recall("resume");
    this.attempt = 0;
    this.over = false;
    this.ready = false;
    /** @type {Message | null} */
    this.refusal = null;
    this.timer = 0;
    this.deadline = 0; // runs while there is no session
    this.late = false; // it has passed
    this.dropped = 0;
    this.mode = wishedMode(); // as the last hello asked for it
  }

  /** Connect, or connect anew. */
  open() {
    if (!this.deadline) this.deadline = window.setTimeout(() => this.giveUp(), this.resumeToken ? KEPT_MS : FIRST_MS);
    const url = new URL("../ws", import.meta.url); // relative: the server may be mounted below another's path
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.refusal = null;
    socket.binaryType = "arraybuffer";
    this.timer = window.setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      this.mode = wishedMode();
      this.send({
        type: "hello", version: VERSION, client: "page", resume: this.resumeToken || null, token: recall("token") || null,
        mode: this.mode, patience: recallNumber("patience"),
      });
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.closed(socket);
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    if (typeof data !== "string") {
      const frame = unpackFrame(data);
      if (frame) this.listener.frame(frame);
      return;
    }
    /** @type {Message} */
    const message = JSON.parse(data);
    if (message.type === "ping") {
      this.send({ type: "pong", id: message.id, client_ms: performance.now() });
      return;
    }
    if (message.type === "welcome") {
      clearTimeout(this.timer);
      this.resumeToken = message.resume_token;
      keep("resume", this.resumeToken);
      this.attempt = 0;
      this.ready = true;
      this.patient();
    }
    if (message.type === "error" && message.fatal) this.refusal = message;
    this.listener.message(message);
  }

  /** @param {WebSocket} socket */
  closed(socket) {
    if (socket !== this.socket) return;
    clearTimeout(this.timer);
    this.ready = false;
    this.socket = null;
    if (this.over || this.refusal || this.late) {
      this.patient();
      this.listener.closed(this.refusal ?? (this.over ? null : LOST));
      return;
    }
    if (!this.deadline) this.deadline = window.setTimeout(() => this.giveUp(), KEPT_MS);
    const wait = RETRY_MS[Math.min(this.attempt++, RETRY_MS.length - 1)];
    this.listener.lost(this.attempt);
    this.timer = window.setTimeout(() => this.open(), wait);
  }

  /** Greet anew, with what has been chosen since: the conversation goes on. */
  renew() {
    const former = this.socket;
    this.socket = null;
    this.ready = false;
    former?.close();
    this.open();
  }

  /** No session stands after all this time: an attempt that runs is the last one. */
  giveUp() {
    this.late = true;
    if (this.socket) return;
    clearTimeout(this.timer);
    this.patient();
    this.listener.closed(LOST);
  }

  /** The deadline does not run any more. */
  patient() {
    clearTimeout(this.deadline);
    this.deadline = 0;
    this.late = false;
  }

  /** @param {Message} message */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /**
   * Send a microphone frame; while the network stands still, drop it rather than pile it up.
   * @param {ArrayBuffer} data
   */
  sendFrame(data) {
    if (!this.ready || this.socket?.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MAX_WAITING_BYTES) this.dropped++;
    else this.socket.send(data);
  }

  /** End it for good. */
  hangUp() {
    this.over = true;
    keep("resume", "");
    clearTimeout(this.timer);
    this.patient();
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.send({ type: "hang_up" });
      this.socket.close();
    } else {
      this.socket?.close();
      this.socket = null;
      this.listener.closed(null);
    }
  }
}
