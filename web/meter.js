/** Whether a sound stands out of the room and of the reply's own echo: from levels alone, in steps of 10 ms. */

export const STEP_MS = 10;
/** Digital silence, and everything below it. */
export const SILENT_DB = -96;

const FLOOR_MARGIN_DB = 9; // above the room's noise
const ECHO_MARGIN_DB = 6; // above what comes back of the reply
const HYSTERESIS_DB = 3; // to stay loud takes a little less than to become it
const QUIETEST_DBFS = -55; // in the stillest room a rustle is no sound
const ONSET_STEPS = 5; // 50 ms: a knock is shorter
const QUIET_STEPS = 10; // after 100 ms of quiet the next sound is a new one
const ECHO_STEPS = 30; // the way through the speaker, the room and the microphone takes up to 300 ms
const MEMORY_STEPS = 400; // 4 s: then the room or the volume is another one
const FLOOR_SHARE = 0.05; // minima alone would lock the floor at the quietest moment ever heard
const ECHO_SHARE = 0.9;
const FIRST_FLOOR_DBFS = -60;
const FIRST_ECHO_DB = -6; // until 0.5 s of a reply were heard
const LEARN_STEPS = 50;

/** The last 4 s of levels, counted in bins of 1 dB, so that any percentile is found without sorting or allocating. */
class Levels {
  static LOWEST_DB = -120;

  constructor() {
    this.counts = new Uint16Array(240);
    this.ring = new Uint8Array(MEMORY_STEPS);
    this.filled = 0;
    this.at = 0;
  }

  /** @param {number} db */
  add(db) {
    const bin = Math.max(0, Math.min(this.counts.length - 1, Math.round(db - Levels.LOWEST_DB)));
    if (this.filled === MEMORY_STEPS) this.counts[this.ring[this.at]]--;
    else this.filled++;
    this.ring[this.at] = bin;
    this.counts[bin]++;
    this.at = (this.at + 1) % MEMORY_STEPS;
  }

  /**
   * @param {number} share
   * @returns {number} The level that so great a share of the steps stays below.
   */
  percentile(share) {
    let left = Math.ceil(this.filled * share);
    for (let bin = 0; bin < this.counts.length; bin++) {
      left -= this.counts[bin];
      if (left <= 0) return bin + Levels.LOWEST_DB;
    }
    return Levels.LOWEST_DB;
  }
}

export class Meter {
  constructor() {
    this.floor = new Levels();
    this.echo = new Levels();
    this.playback = new Float32Array(ECHO_STEPS).fill(SILENT_DB);
    this.at = 0;
    this.told = SILENT_DB; // the loudest that was told since the last step
    this.loud = false;
    this.run = 0; // loud steps in a row
    this.quiet = 0; // steps in a row that were not
    this.noticed = false; // this sound
  }

  /**
   * The speaker plays at this level.
   * @param {number} db
   */
  played(db) {
    this.told = Math.max(this.told, db);
  }

  /** @returns {number} How loud the reply was within the time that its echo takes. */
  get playing() {
    let loudest = SILENT_DB;
    for (let i = 0; i < ECHO_STEPS; i++) loudest = Math.max(loudest, this.playback[i]);
    return loudest;
  }

  /** @returns {number} The room's noise. */
  get floorDb() {
    return this.floor.filled < LEARN_STEPS ? FIRST_FLOOR_DBFS : this.floor.percentile(FLOOR_SHARE);
  }

  /** @returns {number} By how much the reply comes back louder or softer than it is played. */
  get echoDb() {
    return this.echo.filled < LEARN_STEPS ? FIRST_ECHO_DB : this.echo.percentile(ECHO_SHARE);
  }

  /**
   * Take in the microphone's level of one step.
   * @param {number} db
   * @returns {boolean} Whether with this step a new sound over the reply is noticed.
   */
  step(db) {
    this.playback[this.at] = this.told;
    this.at = (this.at + 1) % ECHO_STEPS;
    this.told = SILENT_DB;
    const playing = this.playing;
    let threshold = Math.max(QUIETEST_DBFS, this.floorDb + FLOOR_MARGIN_DB);
    if (playing > SILENT_DB) threshold = Math.max(threshold, playing + this.echoDb + ECHO_MARGIN_DB);
    this.loud = db >= threshold - (this.loud ? HYSTERESIS_DB : 0);
    this.floor.add(db);
    // A sound that was noticed is a person rather than the echo. If it is the echo, its beginnings are enough to learn from.
    if (playing > SILENT_DB && !(this.noticed && this.loud)) this.echo.add(db - playing);
    if (!this.loud) {
      this.run = 0;
      if (++this.quiet >= QUIET_STEPS) this.noticed = false;
      return false;
    }
    this.run++;
    this.quiet = 0;
    if (this.run < ONSET_STEPS || this.noticed || playing <= SILENT_DB) return false;
    this.noticed = true;
    return true;
  }
}

/**
 * @param {number} power Mean of the squared samples, full scale 1.
 * @returns {number} dBFS
 */
export function decibel(power) {
  return power > 0 ? Math.max(SILENT_DB, 10 * Math.log10(power)) : SILENT_DB;
}
