/**
 * The speaker's side of the audio thread. The context runs at 24 kHz, so one sample of it is one sample of the epoch:
 * what is counted here is what was played. When the microphone's side notices a sound over the reply, the reply is softened
 * at once and for a moment; what comes of the sound is the server's business.
 */

import { decibel, SILENT_DB } from "../meter.js";

const RATE_HZ = 24000;
const FADE = 120; // 5 ms
const DUCKED_GAIN = 10 ** (-15 / 20);
const DUCK = RATE_HZ / 4 - FADE; // with the way back up 250 ms
const MEASURE = 240; // 10 ms
const ACK = 2400; // 100 ms
const FIRST_BUFFER = 960; // 40 ms
const MOST_BUFFER = 2880; // 120 ms
const RESIDUE_DECAY = 0.96; // a tenth after 2.4 ms
const RESIDUE_END = 1e-4;
const RING = RATE_HZ * 8;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Int16Array(RING);
    this.buffer = FIRST_BUFFER; // grows when the network stutters
    this.dropped = 0; // epochs up to this one are over
    this.over = { epoch: 0, samples: 0 }; // the last epoch that was played to its end
    this.turn = 0;
    this.epoch = 0;
    this.received = 0;
    this.position = 0;
    this.acked = 0;
    this.total = -1; // the epoch's length, once known
    this.playing = false; // sound comes out, or would but for a hold
    this.started = false;
    this.gain = 0;
    this.last = 0; // the sample that was played last
    this.residue = 0; // of a sound that was cut off: it dies away, or there would be a click
    /** What happens when the sound has faded: "" | "hold" | "flush" | "reset". */
    this.fading = "";
    this.held = false;
    this.ducked = 0; // so many samples more are soft
    this.power = 0;
    this.measured = 0;
    this.level = SILENT_DB; // as last told to the microphone's side
    /** @type {MessagePort | null} The microphone's side. */
    this.microphone = null;
    this.port.onmessage = (event) => this.take(event.data);
  }

  /**
   * Begin anew.
   * @param {number} turn
   * @param {number} epoch
   */
  clear(turn, epoch) {
    this.turn = turn;
    this.epoch = epoch;
    this.received = 0;
    this.position = 0;
    this.acked = 0;
    this.total = -1;
    this.playing = false;
    this.started = false;
    this.gain = 0;
    this.fading = "";
    this.held = false;
    this.ducked = 0;
  }

  /**
   * A newer epoch takes the speaker; what was asked of the older one is answered, and what was heard of it is remembered.
   * @param {number} turn
   * @param {number} epoch
   */
  supersede(turn, epoch) {
    if (this.fading === "flush") this.tell("flushed", this, this.position);
    if (this.fading === "hold") this.tell("held", this, this.position);
    if (this.audible) this.residue = this.last;
    if (this.epoch) this.over = { epoch: this.epoch, samples: this.position };
    this.clear(turn, epoch);
  }

  /** Another connection counts its epochs from the beginning. */
  forget() {
    this.clear(0, 0);
    this.dropped = 0;
    this.over = { epoch: 0, samples: 0 };
  }

  /**
   * How much of an epoch was played; of the last one also after its end.
   * @param {number} epoch
   */
  heard(epoch) {
    if (epoch === this.epoch) return this.position;
    return epoch === this.over.epoch ? this.over.samples : 0;
  }

  /** @param {any} message */
  take(message) {
    if (message.type === "frame") {
      this.frame(message);
      return;
    }
    if (message.type === "reset") {
      if (this.audible) this.fading = "reset";
      else this.forget();
      return;
    }
    if (message.type === "link") {
      this.link(message.port);
      return;
    }
    // Control overtakes audio: what concerns an epoch may come before its first frame.
    if (message.type !== "flush" && message.epoch > this.epoch && message.epoch > this.dropped) {
      this.supersede(message.turn, message.epoch);
    }
    const mine = message.epoch === this.epoch;
    if (message.type === "hold") this.hold(message, mine);
    else if (message.type === "flush") this.flush(message, mine);
    else if (message.type === "resume" && mine && (this.fading === "" || this.fading === "hold")) {
      this.fading = "";
      this.held = false;
      this.ducked = 0; // the server has decided
    } else if (message.type === "reply_end" && mine) {
      this.total = message.samples;
    }
  }

  /** @param {MessagePort} port To the microphone's side: levels go there, "duck" comes from there. */
  link(port) {
    this.microphone?.close();
    this.microphone = port;
    port.onmessage = () => this.duck();
    this.level = SILENT_DB;
  }

  /** Be softer for a moment; nothing is skipped, and all of it counts as heard. */
  duck() {
    if (this.audible && !this.fading && this.ducked === 0) this.ducked = DUCK;
  }

  /**
   * @param {{turn: number, epoch: number}} message
   * @param {boolean} mine Whether its epoch is the one that plays.
   */
  hold(message, mine) {
    if (mine && (this.fading === "flush" || this.fading === "reset")) return; // it is going anyway
    if (mine && this.audible) this.fading = "hold";
    else {
      if (mine) this.held = true;
      this.tell("held", message, this.heard(message.epoch));
    }
  }

  /**
   * @param {{turn: number, epoch: number}} message
   * @param {boolean} mine Whether its epoch is the one that plays.
   */
  flush(message, mine) {
    this.dropped = Math.max(this.dropped, message.epoch);
    if (mine && this.audible) this.fading = "flush";
    else {
      this.tell("flushed", message, this.heard(message.epoch));
      if (mine) this.clear(0, 0);
    }
  }

  get audible() {
    return this.playing && !this.held && this.position < this.received;
  }

  /**
   * @param {string} type
   * @param {{turn: number, epoch: number}} whose
   * @param {number} samples
   */
  tell(type, whose, samples) {
    this.port.postMessage({ type, turn: whose.turn, epoch: whose.epoch, samples });
  }

  /** @param {{turn: number, epoch: number, first: number, pcm: Int16Array}} frame */
  frame(frame) {
    if (frame.epoch <= this.dropped || frame.epoch < this.epoch) return;
    if (frame.epoch > this.epoch) this.supersede(frame.turn, frame.epoch);
    if (frame.first !== this.received) return;
    if (this.received + frame.pcm.length - this.position > RING) return; // the server never sends so far ahead
    for (let i = 0; i < frame.pcm.length; i++) this.ring[(this.received + i) % RING] = frame.pcm[i];
    this.received += frame.pcm.length;
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   * @returns {boolean}
   */
  process(_inputs, outputs) {
    const out = outputs[0][0];
    const complete = this.total >= 0 && this.received >= this.total;
    if (!this.playing && this.received - this.position >= (complete ? 1 : this.buffer)) this.playing = true;
    let first = -1;
    for (let i = 0; i < out.length; i++) {
      if (!this.audible) break;
      if (first < 0) first = i;
      const wanted = this.fading ? 0 : this.ducked > 0 ? DUCKED_GAIN : 1;
      this.gain = this.gain < wanted ? Math.min(wanted, this.gain + 1 / FADE) : Math.max(wanted, this.gain - 1 / FADE);
      out[i] = this.ring[this.position % RING] / 32768 * this.gain;
      this.last = out[i];
      this.power += out[i] * out[i];
      this.position++;
      if (this.ducked > 0) this.ducked--;
      if (this.fading && this.gain <= 0) this.faded();
    }
    if (this.fading && !this.audible) this.faded(); // there was nothing left to fade
    for (let i = 0; i < out.length && this.residue !== 0; i++) {
      out[i] += this.residue;
      this.residue = Math.abs(this.residue) < RESIDUE_END ? 0 : this.residue * RESIDUE_DECAY;
    }
    this.report(first);
    this.measure(out.length);
    return true;
  }

  /**
   * Tell the microphone's side how loud the speaker is, about every 10 ms, and once that it is silent.
   * @param {number} samples
   */
  measure(samples) {
    this.measured += samples;
    if (this.measured < MEASURE) return;
    const level = decibel(this.power / this.measured);
    if (this.microphone && (level > SILENT_DB || this.level > SILENT_DB)) this.microphone.postMessage(level);
    this.level = level;
    this.power = 0;
    this.measured = 0;
  }

  /** The sound is gone: what it was faded for happens. */
  faded() {
    const why = this.fading;
    this.fading = "";
    if (why === "reset") {
      this.forget();
      return;
    }
    this.tell(why === "hold" ? "held" : "flushed", this, this.position);
    if (why === "hold") this.held = true;
    else this.clear(0, 0);
  }

  /** @param {number} first Where in this block the sound began; -1 if there was none. */
  report(first) {
    if (!this.epoch) return;
    if (first >= 0 && !this.started) {
      this.started = true;
      this.port.postMessage({ type: "started", turn: this.turn, epoch: this.epoch, at: currentTime + first / RATE_HZ });
    }
    if (this.total >= 0 && this.position >= this.total && !this.held) {
      this.tell("ended", this, this.total);
      this.over = { epoch: this.epoch, samples: this.total };
      this.dropped = this.epoch;
      this.clear(0, 0);
      return;
    }
    if (this.playing && this.position >= this.received && this.total < 0) {
      this.playing = false; // it starved: gather more before going on
      this.gain = 0;
      this.ducked = 0;
      this.buffer = Math.min(MOST_BUFFER, this.buffer + FIRST_BUFFER / 2);
    }
    if (this.position - this.acked >= ACK) {
      this.acked = this.position;
      this.tell("played", this, this.position);
    }
  }
}

registerProcessor("playback", Playback);
