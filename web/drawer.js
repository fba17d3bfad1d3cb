/** The drawer of settings: what answers, the dial between fast and patient, the devices, and the echo's self-test. */

import { verdict } from "./echo.js";
import { keep, recallNumber } from "./memory.js";
import { modeName, wishMode, wishedMode } from "./modes.js";
import { Output, ROUTES } from "./output.js";
import { element } from "./view.js";

/** @typedef {import("./output.js").Route} Route */
/** @typedef {import("./protocol.js").Message} Message */

/**
 * What the drawer can have done.
 * @typedef {object} Doer
 * @property {() => void} changeMode Another mode was chosen.
 * @property {(patience: number) => void} tune
 * @property {() => Promise<number | null>} testEcho
 */

export class Drawer {
  /**
   * @param {Output} output
   * @param {Doer} doer
   */
  constructor(output, doer) {
    this.output = output;
    this.doer = doer;
    this.dial = /** @type {HTMLInputElement} */ (element("patience"));
    this.devices = /** @type {HTMLSelectElement} */ (element("outputs"));
    this.routes = /** @type {HTMLSelectElement} */ (element("route"));
    this.modes = /** @type {HTMLInputElement[]} */ ([...element("modes").querySelectorAll("input")]);
    this.test = /** @type {HTMLButtonElement} */ (element("echo-test"));
    this.showPatience(recallNumber("patience") ?? Number(this.dial.value));
    this.showMode(wishedMode() ?? "");
    for (const choice of this.modes) {
      choice.onchange = () => {
        wishMode(choice.value);
        doer.changeMode();
      };
    }
    this.dial.oninput = () => this.showPatience(Number(this.dial.value));
    this.dial.onchange = () => {
      keep("patience", this.dial.value);
      doer.tune(Number(this.dial.value));
    };
    this.devices.onchange = () => this.choose({ deviceId: this.devices.value });
    this.routes.onchange = () => this.choose({ route: /** @type {Route} */ (this.routes.value) });
    this.test.onclick = () => this.runTest();
    this.listOutputs();
  }

  /** @param {Message} welcome How the server is set: it is shown where the person has not chosen. */
  welcome({ patience, mode }) {
    const wish = wishedMode();
    this.showPatience(recallNumber("patience") ?? patience);
    this.showMode(wish ?? mode);
    this.sayOfMode(wish && wish !== mode ? `This server answers in its own way: ${modeName(mode).toLowerCase()}.` : "");
  }

  /** @param {string} mode Empty if it is not known. */
  showMode(mode) {
    for (const choice of this.modes) choice.checked = choice.value === mode;
  }

  /** @param {string} text What becomes of the choice. */
  sayOfMode(text) {
    element("mode-note").textContent = text;
  }

  /** @param {number} patience */
  showPatience(patience) {
    this.dial.value = String(patience);
    const words = ["fast", "rather fast", "in the middle", "rather patient", "patient"];
    this.dial.setAttribute("aria-valuetext", words[Math.round(patience * (words.length - 1))]);
  }

  /** @param {{route?: Route, deviceId?: string}} choice */
  async choose(choice) {
    const trouble = await this.output.choose(choice);
    await this.listOutputs(trouble);
  }

  /** Show what there is to choose from, and a word of why where there is no choice. */
  async listOutputs(trouble = "") {
    const { output, devices, routes } = this;
    for (const route of ROUTES) {
      const option = /** @type {HTMLOptionElement} */ (routes.namedItem(route));
      option.disabled = route === "element" && !Output.hasElement;
      option.selected = route === output.route;
    }
    const found = output.hasDevices ? await Output.devices() : [];
    devices.replaceChildren(new Option("The browser's own choice", ""), ...found.map((device, index) =>
      new Option(device.label || `Output ${index + 1}`, device.deviceId, false, device.deviceId === output.deviceId)));
    devices.disabled = !output.hasDevices;
    const notes = [trouble];
    if (!output.hasDevices) notes.push("This browser chooses the device itself.");
    if (!Output.hasElement) notes.push("This browser has only the direct way.");
    element("output-note").textContent = notes.filter(Boolean).join(" ");
  }

  /** @param {string} obstacle Why the self-test cannot be made now; empty if it can. */
  mayTest(obstacle) {
    this.test.disabled = obstacle !== "";
    element("echo-note").textContent = obstacle;
  }

  async runTest() {
    const result = element("echo-result");
    result.textContent = "Be quiet for three seconds …";
    result.textContent = verdict(await this.doer.testEcho());
  }
}
