/** The echo's self-test: how loud the microphone hears a sound that the page plays. */

import { FRAME_SAMPLES, RATE_HZ } from "./protocol.js";

const QUIET_FRAMES = 25; // 0.5 s of the room
const SOUND_S = 1.5;
const HEARD_FRAMES = 100; // the sound, and 0.5 s for the way through the room
const LEVEL = 0.14; // a sweep of about -20 dBFS: as loud as speech
const LOWEST_HZ = 300, HIGHEST_HZ = 3400; // where speech is
const SWEEPS = 3;
const FADE_S = 0.02;
export const NOT_HEARD_DB = -96;
const UNHEARD_DB = -60; // nothing that a person over the answer would not drown
const FINE_DB = -20;

/** @returns {Float32Array<ArrayBuffer>} The test's sound at 24 kHz: a few sweeps through the band of speech. */
export function testSound() {
  const sound = new Float32Array(SOUND_S * RATE_HZ);
  const length = sound.length / SWEEPS;
  let phase = 0;
  for (let i = 0; i < sound.length; i++) {
    const within = i % length;
    phase += 2 * Math.PI * LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (within / length) / RATE_HZ;
    const edge = Math.min(1, within / (FADE_S * RATE_HZ), (length - within) / (FADE_S * RATE_HZ));
    sound[i] = LEVEL * edge * Math.sin(phase);
  }
  return sound;
}

/**
 * @param {ArrayLike<number>} samples
 * @param {number} full What counts as 1.
 */
function energy(samples, full) {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += (samples[i] / full) ** 2;
  return sum;
}

/** One measurement: it is fed with the microphone's frames, plays the sound when it knows the room, and counts no clock. */
export class EchoTest {
  /** @param {(sound: Float32Array<ArrayBuffer>) => void} play */
  constructor(play) {
    this.play = play;
    this.sound = testSound();
    this.frames = 0;
    this.quiet = 0;
    this.heard = 0;
    /** @type {(gainDb: number | null) => void} */
    this.settle = () => {};
    /** @type {Promise<number | null>} The level at the microphone less the level played, in dB; null if it was broken off. */
    this.result = new Promise((settle) => { this.settle = settle; });
  }

  /** @param {Int16Array} pcm 20 ms at 24 kHz. */
  frame(pcm) {
    const power = energy(pcm, 32768) * FRAME_SAMPLES / pcm.length;
    this.frames++;
    if (this.frames <= QUIET_FRAMES) {
      this.quiet += power;
      if (this.frames === QUIET_FRAMES) this.play(this.sound);
      return;
    }
    this.heard += power;
    if (this.frames < QUIET_FRAMES + HEARD_FRAMES) return;
    const room = this.quiet / QUIET_FRAMES * HEARD_FRAMES;
    const echo = this.heard - room;
    // What does not stand out of the room's noise is not heard.
    const gain = echo > room ? 10 * Math.log10(echo / energy(this.sound, 1)) : NOT_HEARD_DB;
    this.settle(Math.max(NOT_HEARD_DB, Math.min(24, gain)));
  }

  /** Break it off: somebody speaks, or the microphone is gone. */
  cancel() {
    this.settle(null);
  }
}

/**
 * @param {number | null} gainDb
 * @returns {string} What it means, for a person.
 */
export function verdict(gainDb) {
  if (gainDb === null) return "The test was broken off. Try again when nobody speaks.";
  if (gainDb <= UNHEARD_DB) return "Your microphone does not hear the agent: speak over it whenever you like.";
  const heard = `It hears the agent at ${String(Math.round(gainDb)).replace("-", "−")} dB`;
  if (gainDb <= FINE_DB) return `${heard}: fine.`;
  return `${heard}: use headphones, the other output, or half-duplex.`;
}
