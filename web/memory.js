/** What the page keeps in the browser: what the person has chosen, the access token, the conversation to come back to. */

/** How long each is kept: a choice for good, the rest until the tab is closed. */
const KEEPER = /** @type {const} */ ({
  microphone: "localStorage", output: "localStorage", route: "localStorage", patience: "localStorage",
  mode: "localStorage", inspector: "localStorage",
  token: "sessionStorage", resume: "sessionStorage",
});

/** @typedef {keyof typeof KEEPER} Name */

/** What the browser will not keep is kept here, until the page is left. */
const here = /** @type {Map<Name, string>} */ (new Map());

/**
 * @param {Name} name
 * @returns {string} Empty if nothing is kept.
 */
export function recall(name) {
  try {
    return window[KEEPER[name]].getItem(name) ?? "";
  } catch {
    return here.get(name) ?? "";
  }
}

/**
 * @param {Name} name
 * @returns {number | null} Null if nothing is kept.
 */
export function recallNumber(name) {
  const value = recall(name);
  return value === "" || Number.isNaN(Number(value)) ? null : Number(value);
}

/**
 * @param {Name} name
 * @param {string} value Empty to forget it.
 */
export function keep(name, value) {
  try {
    const keeper = window[KEEPER[name]];
    if (value) keeper.setItem(name, value);
    else keeper.removeItem(name);
  } catch {
    here.set(name, value);
  }
}
