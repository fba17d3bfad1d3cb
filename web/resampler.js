/** Streaming resampling by a windowed sinc: nothing above the lower of the two Nyquist frequencies comes through. */

const PHASES = 256;
const HALF_TAPS = 12;

export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz;
    const cutoff = Math.min(1, toHz / fromHz) * 0.94;
    this.half = Math.ceil(HALF_TAPS / Math.min(1, toHz / fromHz));
    const taps = this.half * 2;
    /** One row of taps for each fraction of an input sample. */
    this.table = new Float32Array((PHASES + 1) * taps);
    for (let phase = 0; phase <= PHASES; phase++) {
      let sum = 0;
      for (let i = 0; i < taps; i++) {
        const x = i - this.half + 1 - phase / PHASES;
        const window = Math.abs(x) >= this.half ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x / this.half) + 0.08 * Math.cos(2 * Math.PI * x / this.half);
        const value = (x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x)) * window;
        this.table[phase * taps + i] = value;
        sum += value;
      }
      for (let i = 0; i < taps; i++) this.table[phase * taps + i] /= sum;
    }
    /** Input that is still needed; its first sample stands at `-(half - 1)` of the first output. */
    this.input = new Float32Array(1 << 14);
    this.filled = this.half - 1;
    /** Where the next output stands, in samples of `input`. */
    this.at = this.half - 1;
  }

  /**
   * Take in samples and hand each output sample to `emit`.
   * @param {Float32Array} samples
   * @param {(sample: number) => void} emit
   */
  push(samples, emit) {
    this.input.set(samples, this.filled);
    this.filled += samples.length;
    const taps = this.half * 2;
    while (this.at + this.half < this.filled) {
      const whole = Math.floor(this.at);
      const row = Math.round((this.at - whole) * PHASES) * taps;
      const start = whole - this.half + 1;
      let sum = 0;
      for (let i = 0; i < taps; i++) sum += this.input[start + i] * this.table[row + i];
      emit(sum);
      this.at += this.step;
    }
    const used = Math.floor(this.at) - this.half + 1;
    if (used > 4096) {
      this.input.copyWithin(0, used, this.filled);
      this.filled -= used;
      this.at -= used;
    }
  }
}
