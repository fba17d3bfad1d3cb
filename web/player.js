/** The speaker: reply frames to the audio thread, and its word on what was heard back to the server. */

import { RATE_HZ } from "./protocol.js";

/** @typedef {import("./output.js").Output} Output */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").ReplyFrame} ReplyFrame */

export class Player {
  /**
   * @param {(message: Message) => void} send
   * @param {(running: boolean) => void} onState Whether the browser lets sound out.
   * @param {Output} output
   */
  constructor(send, onState, output) {
    this.send = send;
    this.onState = onState;
    this.output = output;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
  }

  /** Open the speaker; to be called from a click, or the browser keeps it silent. */
  async open() {
    if (this.context) {
      await this.context.resume();
      return;
    }
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    this.context = context;
    context.onstatechange = () => this.onState(context.state === "running");
    await context.audioWorklet.addModule(new URL("worklets/playback.js", import.meta.url));
    this.node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.report(data);
    this.node.connect(await this.output.open(context));
    await context.resume();
  }

  /** @param {any} data What the audio thread tells. */
  report(data) {
    if (data.type === "started") {
      this.send({ type: "started", turn: data.turn, epoch: data.epoch, at_ms: Math.max(0, this.heardAt(data.at)) });
    } else {
      this.send({ type: data.type, turn: data.turn, epoch: data.epoch, samples: data.samples });
    }
  }

  /**
   * When a moment of the audio context reaches the ear, on performance.now()'s clock.
   * @param {number} at
   */
  heardAt(at) {
    const context = this.context;
    if (!context) return performance.now();
    const stamp = context.getOutputTimestamp?.();
    if (stamp?.contextTime && stamp.performanceTime) return stamp.performanceTime + (at - stamp.contextTime) * 1000;
    return performance.now() + (at - context.currentTime + (context.outputLatency || context.baseLatency || 0)) * 1000;
  }

  /** @param {ReplyFrame} frame */
  frame(frame) {
    this.node?.port.postMessage({ type: "frame", ...frame }, [frame.pcm.buffer]);
  }

  /**
   * A hold, resume, flush or reply_end.
   * @param {Message} message
   */
  control(message) {
    if (this.node) this.node.port.postMessage(message);
    else if (message.type === "flush") this.send({ type: "flushed", turn: message.turn, epoch: message.epoch, samples: 0 });
  }

  /**
   * Play a sound that is no reply.
   * @param {Float32Array<ArrayBuffer>} samples
   */
  play(samples) {
    const { context, output: { bus } } = this;
    if (!context || !bus) return;
    const buffer = context.createBuffer(1, samples.length, RATE_HZ);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(bus);
    source.start();
  }

  /**
   * Tell the microphone's side how loud the reply is, and be softer when it asks for it.
   * @param {MessagePort} port
   */
  link(port) {
    this.node?.port.postMessage({ type: "link", port }, [port]);
  }

  /** Be silent and forget every epoch: the connection that they came by is gone. */
  reset() {
    this.node?.port.postMessage({ type: "reset" });
  }

  async close() {
    const context = this.context;
    this.context = null;
    this.node = null;
    this.output.close();
    if (context && context.state !== "closed") await context.close();
  }
}
