/** The two modes: three models in a row, or one voice model. What they are called, and which one the person wants. */

import { keep, recall } from "./memory.js";

/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {"cascade" | "realtime"} Mode */

const NAMES = /** @type {Record<string, string>} */ ({ cascade: "Three models", realtime: "One voice model" });

/** What a model does, in the order in which it does it; in the voice model's mode its transcripts are only read. */
const ROLES = /** @type {Record<string, Record<string, string>>} */ ({
  cascade: { stt: "Speech to text", llm: "Language model", tts: "Text to speech" },
  realtime: { realtime: "Voice model", stt: "Your words in writing" },
});

/**
 * @param {string} value
 * @returns {value is Mode}
 */
function isMode(value) {
  return value === "cascade" || value === "realtime";
}

/** @param {string} mode */
export function modeName(mode) {
  return NAMES[mode] ?? mode;
}

/** @returns {Mode | null} What was chosen here before, else what the address asks for; null: as the server is set. */
export function wishedMode() {
  for (const value of [recall("mode"), new URLSearchParams(location.search).get("mode") ?? ""]) {
    if (isMode(value)) return value;
  }
  return null;
}

/** @param {string} mode */
export function wishMode(mode) {
  keep("mode", isMode(mode) ? mode : "");
}

/**
 * @param {Message} welcome
 * @returns {string} The mode and who answers in it, in a few words.
 */
export function whoAnswers({ backend, mode, models }) {
  if (backend === "local") return `${modeName(mode)} · local twin`;
  const names = Object.entries(models).filter(([role]) => mode !== "realtime" || role !== "stt").map(([, name]) => name);
  return `${modeName(mode)}: ${names.join(" · ")}`;
}

/**
 * @param {Message} welcome
 * @returns {[role: string, model: string][]} Each model in use with what it does; none where the local twin answers.
 */
export function modelsInUse(welcome) {
  if (welcome.backend === "local") return []; // it is asked by those names, and answers with its own engines
  const roles = ROLES[welcome.mode] ?? {};
  const known = Object.keys(roles).filter((role) => role in welcome.models);
  const others = Object.keys(welcome.models).filter((role) => !(role in roles));
  return [...known, ...others].map((role) => [roles[role] ?? role, welcome.models[role]]);
}
