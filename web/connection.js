/** One WebSocket to the server: hello, pings answered at once, and a lost network come back to with the resume token. */

import { keep, recall } from "./memory.js";
import { VERSION, unpackFrame } from "./protocol.js";

/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").ReplyFrame} ReplyFrame */

const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];
const CONNECT_TIMEOUT_MS = 25000;
const MAX_WAITING_BYTES = 512 * 1024;

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
    this.dropped = 0;
  }

  /** Connect, or connect anew. */
  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.socket = socket;
    this.refusal = null;
    socket.binaryType = "arraybuffer";
    this.timer = window.setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);
    socket.onopen = () => this.send({
      type: "hello", version: VERSION, client: "page", resume: this.resumeToken || null, token: recall("token") || null,
    });
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
    if (this.over || this.refusal || this.attempt >= RETRY_MS.length) {
      this.listener.closed(this.refusal ?? (this.over ? null : {
        type: "error", code: "lost", message: "The server cannot be reached.", hint: "See whether it runs, then press Start.",
      }));
      return;
    }
    const wait = RETRY_MS[this.attempt++];
    this.listener.lost(this.attempt);
    this.timer = window.setTimeout(() => this.open(), wait);
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
