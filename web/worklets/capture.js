/**
 * The microphone's side of the audio thread: any rate to 24 kHz, in frames of 20 ms. It tells the speaker's side without a
 * detour when somebody makes a sound over the reply.
 */

import { decibel, Meter, STEP_MS } from "../meter.js";
import { Resampler } from "../resampler.js";

const RATE_HZ = 24000;
const FRAME = 480;
const STEP = RATE_HZ * STEP_MS / 1000;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE_HZ);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.peak = 0;
    this.at = 0; // when the frame's first sample was captured, on the context's clock
    this.mono = new Float32Array(128);
    this.emit = (/** @type {number} */ sample) => this.add(sample);
    this.meter = new Meter();
    this.power = 0; // summed over the step
    this.measured = 0;
    this.mayDuck = true;
    /** @type {MessagePort | null} The speaker's side. */
    this.speaker = null;
    this.port.onmessage = (event) => this.take(event.data);
  }

  /** @param {any} message */
  take(message) {
    if (message.type === "may_duck") {
      this.mayDuck = message.may;
      return;
    }
    this.speaker?.close();
    this.speaker = message.port;
    message.port.onmessage = (/** @type {MessageEvent} */ event) => this.meter.played(event.data);
  }

  /** @param {number} value */
  measure(value) {
    this.power += value * value;
    if (++this.measured < STEP) return;
    // A muted microphone says nothing about the room.
    if (this.mayDuck && this.meter.step(decibel(this.power / STEP))) this.speaker?.postMessage("duck");
    this.power = 0;
    this.measured = 0;
  }

  /** @param {number} sample */
  add(sample) {
    if (this.filled === 0) {
      // The resampler stands in its input so many samples before the end of this block.
      const behind = this.resampler.filled - this.resampler.at - this.mono.length;
      this.at = currentTime - behind / sampleRate;
    }
    const value = Math.max(-1, Math.min(1, sample));
    this.peak = Math.max(this.peak, Math.abs(value));
    this.measure(value);
    this.frame[this.filled++] = Math.round(value * 32767);
    if (this.filled < FRAME) return;
    this.port.postMessage({ pcm: this.frame, at: this.at, peak: this.peak }, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean}
   */
  process(inputs) {
    const channels = inputs[0];
    if (channels.length === 0) return true;
    if (this.mono.length !== channels[0].length) this.mono = new Float32Array(channels[0].length);
    for (let i = 0; i < this.mono.length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.mono[i] = sum / channels.length;
    }
    this.resampler.push(this.mono, this.emit);
    return true;
  }
}

registerProcessor("capture", Capture);
