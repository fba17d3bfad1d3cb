/** The microphone's side of the audio thread: any rate to 24 kHz, in frames of 20 ms. */

import { Resampler } from "../resampler.js";

const RATE_HZ = 24000;
const FRAME = 480;

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
