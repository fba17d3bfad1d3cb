/** Where the sound goes: to which device, and straight there or through the page's audio element. */

import { keep, recall } from "./memory.js";

/** Echo cancellers differ in which of the two they hear. */
export const ROUTES = /** @type {const} */ (["direct", "element"]);

/** @typedef {typeof ROUTES[number]} Route */

export class Output {
  /** @param {HTMLAudioElement} speaker The page's audio element. */
  constructor(speaker) {
    this.speaker = speaker;
    /** @type {Route} */
    this.route = recall("route") === "element" && Output.hasElement ? "element" : "direct";
    this.deviceId = recall("output"); // "" is the browser's own choice
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {GainNode | null} What is to be heard is connected to it. */
    this.bus = null;
    /** @type {MediaStreamAudioDestinationNode | null} */
    this.stream = null;
  }

  /** Whether this browser can play through an audio element. */
  static get hasElement() {
    return "createMediaStreamDestination" in AudioContext.prototype && "srcObject" in HTMLMediaElement.prototype;
  }

  /** Whether this browser lets the page choose the device on the present route. */
  get hasDevices() {
    return "setSinkId" in (this.route === "direct" ? AudioContext : HTMLMediaElement).prototype;
  }

  /** @returns {Promise<MediaDeviceInfo[]>} The devices to choose from, the browser's own choice not counted. */
  static async devices() {
    const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
    return devices.filter(({ kind, deviceId }) => kind === "audiooutput" && deviceId && deviceId !== "default");
  }

  /**
   * Let a context sound there.
   * @param {AudioContext} context
   * @returns {Promise<GainNode>} What to connect to.
   */
  async open(context) {
    this.context = context;
    this.bus = context.createGain();
    await this.apply();
    return this.bus;
  }

  /**
   * Use another route or device; what plays goes on there.
   * @param {{route?: Route, deviceId?: string}} choice
   * @returns {Promise<string>} What did not work, in words; empty if all did.
   */
  async choose({ route = this.route, deviceId = this.deviceId }) {
    this.route = route;
    this.deviceId = deviceId;
    const trouble = await this.apply();
    keep("route", this.route);
    keep("output", this.deviceId);
    return trouble;
  }

  /** @returns {Promise<string>} What did not work, in words. */
  async apply() {
    const { context, bus, speaker } = this;
    if (!context || !bus) return ""; // later, when there is something to hear
    let trouble = "";
    bus.disconnect();
    if (this.route === "element") {
      this.stream ??= context.createMediaStreamDestination();
      bus.connect(this.stream);
      speaker.srcObject = this.stream.stream;
      try {
        await speaker.play();
      } catch {
        trouble = "The audio element does not play here: the direct way is used.";
        this.route = "direct";
      }
    }
    if (this.route === "direct") {
      speaker.srcObject = null;
      bus.disconnect();
      bus.connect(context.destination);
    }
    return await this.direct() || trouble;
  }

  /** @returns {Promise<string>} Why the device is not used, in words. */
  async direct() {
    const target = /** @type {{sinkId?: string, setSinkId?: (id: string) => Promise<void>} | null} */ (
      this.route === "direct" ? this.context : this.speaker);
    if (!target?.setSinkId || target.sinkId === this.deviceId) return "";
    try {
      await target.setSinkId(this.deviceId);
      return "";
    } catch {
      this.deviceId = "";
      return "That device is not there any more: the browser's own choice is used.";
    }
  }

  close() {
    this.speaker.srcObject = null;
    this.context = this.bus = this.stream = null;
  }
}
