/** The microphone: permission, choice of device, and frames of 20 ms at 24 kHz with the time they were captured. */

import { keep, recall } from "./memory.js";

/** Why there is no microphone, in words. */
export class MicrophoneError extends Error {
  /**
   * @param {string} what
   * @param {string} hint
   */
  constructor(what, hint) {
    super(what);
    this.hint = hint;
  }
}

/**
 * @param {unknown} error
 * @returns {MicrophoneError}
 */
export function explain(error) {
  const name = error instanceof Error ? error.name : "";
  const typing = "You can type below.";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return new MicrophoneError("The microphone was not allowed.",
      `Allow it for this page in the browser's address bar, then press Start again. ${typing}`);
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new MicrophoneError("No microphone was found.", `Connect one, then press Start again. ${typing}`);
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return new MicrophoneError("The microphone is in use by another program.", `Close that program, then press Start again. ${typing}`);
  }
  return new MicrophoneError("The microphone could not be opened.", `Press Start to try again. ${typing}`);
}

/**
 * @typedef {object} Listener
 * @property {(pcm: Int16Array, capturedMs: number, peak: number) => void} frame 20 ms at 24 kHz; performance.now() at the first sample.
 * @property {(reason: MicrophoneError) => void} ended The device is gone.
 * @property {(running: boolean) => void} running Whether the browser lets sound in.
 */

export class Microphone {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
    this.deviceId = recall("microphone"); // "" is the browser's own choice
  }

  /**
   * Open it. Throws `MicrophoneError`.
   * @returns {Promise<void>}
   */
  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices) {
      throw new MicrophoneError("The browser gives no microphone to a page without HTTPS.",
        "Open this page by https, or on the server's own machine as http://localhost. You can type below.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: this.constraints() });
    } catch (error) {
      if (this.deviceId && error instanceof Error && error.name === "OverconstrainedError") {
        this.deviceId = ""; // the chosen one is gone
        return this.open();
      }
      throw explain(error);
    }
    const context = this.context = new AudioContext();
    context.onstatechange = () => { if (context === this.context) this.listener.running(context.state === "running"); };
    for (const track of this.stream.getAudioTracks()) {
      track.onended = () => this.listener.ended(new MicrophoneError("The microphone was disconnected.",
        "Connect it, or choose another one with the button. You can type below."));
    }
    await context.audioWorklet.addModule(new URL("worklets/capture.js", import.meta.url));
    await context.resume();
    const node = this.node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      const ago = (context.currentTime - data.at) * 1000;
      this.listener.frame(data.pcm, performance.now() - ago, data.peak);
    };
    context.createMediaStreamSource(this.stream).connect(node);
  }

  /** @returns {MediaTrackConstraints} */
  constraints() {
    // Noise suppression takes consonants with it; the echo of the answer must not come back.
    return {
      echoCancellation: true, autoGainControl: true, noiseSuppression: false, channelCount: 1,
      ...(this.deviceId ? { deviceId: { exact: this.deviceId } } : {}),
    };
  }

  /**
   * Use another device.
   * @param {string} deviceId
   */
  async choose(deviceId) {
    this.deviceId = deviceId;
    keep("microphone", deviceId);
    await this.close();
    await this.open();
  }

  /** @returns {Promise<MediaDeviceInfo[]>} */
  static async devices() {
    if (!navigator.mediaDevices) return [];
    return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "audioinput");
  }

  /**
   * Watch for sound over the reply.
   * @param {MessagePort} port To the speaker's side: levels come from there.
   */
  link(port) {
    this.node?.port.postMessage({ type: "link", port }, [port]);
  }

  /** @param {boolean} may Whether a sound may soften the reply. */
  mayDuck(may) {
    this.node?.port.postMessage({ type: "may_duck", may });
  }

  /** @param {boolean} muted */
  mute(muted) {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  async close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    const context = this.context;
    this.context = null;
    this.node = null;
    if (context && context.state !== "closed") await context.close();
  }
}
