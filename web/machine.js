/** The state machine as a drawing whose live state and last path light up. */

import { LEAVES, MOVES } from "./table.js";

/** @typedef {import("./records.js").Move} Move */

const WIDTH = 384;
const HEIGHT = 396;
const BOX = { width: 96, height: 40 };

/** The middle of each leaf's box, and its words. */
const PLACES = /** @type {Record<string, {x: number, y: number, words: string[]}>} */ ({
  listening: { x: 192, y: 34, words: ["listening"] },
  transcribing_open: { x: 72, y: 128, words: ["transcribing", "you speak"] },
  barge_in_speaking: { x: 192, y: 128, words: ["barge-in", "over speech"] },
  speaking: { x: 312, y: 128, words: ["speaking"] },
  barge_in_thinking: { x: 192, y: 220, words: ["barge-in", "over thinking"] },
  transcribing_ended: { x: 72, y: 308, words: ["transcribing", "last words"] },
  thinking: { x: 312, y: 308, words: ["thinking"] },
  closed: { x: 192, y: 372, words: ["closed"] },
});

/** The way of each move; all those that end in `closed` are one, from the frame around the other leaves. */
const WAYS = /** @type {Record<string, string>} */ ({
  "listening>transcribing_open": "M144 34 C96 34 64 60 64 108",
  "listening>transcribing_ended": "M158 54 C124 100 134 220 112 288",
  "listening>thinking": "M226 54 C260 100 250 220 272 288",
  "transcribing_open>transcribing_ended": "M48 148 L48 288",
  "transcribing_ended>transcribing_open": "M64 288 L64 148",
  "transcribing_ended>thinking": "M120 302 L264 302",
  "transcribing_ended>listening": "M28 288 C8 260 12 150 12 112 C12 50 70 24 144 24",
  "thinking>barge_in_thinking": "M293 288 C282 244 264 226 240 226",
  "thinking>speaking": "M326 288 L326 148",
  "thinking>transcribing_ended": "M264 316 L120 316",
  "thinking>transcribing_open": "M282 288 C250 256 158 268 130 238 S112 180 100 148",
  "thinking>listening": "M356 288 C376 260 372 150 372 112 C372 50 314 24 240 24",
  "speaking>barge_in_speaking": "M264 122 L240 122",
  "speaking>transcribing_ended": "M276 148 C250 184 118 130 101 288",
  "speaking>listening": "M320 108 C320 60 288 34 240 34",
  "speaking>thinking": "M342 148 L342 288",
  "speaking>transcribing_open": "M288 108 C262 74 122 74 96 108",
  "barge_in_thinking>transcribing_open": "M144 212 C120 206 100 180 88 148",
  "barge_in_thinking>transcribing_ended": "M144 230 C112 234 86 256 80 288",
  "barge_in_thinking>thinking": "M240 212 C276 212 300 240 305 288",
  "barge_in_speaking>transcribing_open": "M144 128 L120 128",
  "barge_in_speaking>transcribing_ended": "M156 148 C128 176 96 220 90 288",
  "barge_in_speaking>speaking": "M240 134 L264 134",
  ">closed": "M192 338 L192 355",
});

const SVG = "http://www.w3.org/2000/svg";
const MAX_PATH = 12;

/**
 * What a leaf is called.
 * @param {string} leaf
 */
export function leafName(leaf) {
  return PLACES[leaf]?.words.join(", ") ?? leaf;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {...(Element | string)} inside
 */
function draw(name, attributes, ...inside) {
  const shape = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, String(value));
  shape.append(...inside);
  return shape;
}

/**
 * The key of a move's way.
 * @param {string} from
 * @param {string} to
 */
function way(from, to) {
  return to === "closed" ? ">closed" : `${from}>${to}`;
}

export class Machine {
  /** @param {Element} svg */
  constructor(svg) {
    this.svg = svg;
    /** @type {Map<string, Element>} */
    this.ways = new Map();
    /** @type {Map<string, Element>} */
    this.boxes = new Map();
    /** @type {Move[]} Since somebody last broke the silence. */
    this.path = [];
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.append(this.heads(), draw("rect", { class: "frame", x: 2, y: 6, width: WIDTH - 4, height: 332, rx: 14 }));
    for (const [from, to, triggers] of MOVES) this.line(from, to, triggers);
    for (const leaf of Object.keys(LEAVES)) this.box(leaf);
    this.at("");
  }

  heads() {
    return draw("defs", {}, ...["head", "past-head", "last-head"].map((id) => draw(
      "marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" },
      draw("path", { d: "M0 0.5 L8 4 L0 7.5 z" }),
    )));
  }

  /**
   * @param {string} from
   * @param {string} to
   * @param {string[]} triggers
   */
  line(from, to, triggers) {
    const key = way(from, to);
    if (this.ways.has(key)) return;
    const told = to === "closed" ? "From anywhere: leave, idle" : `${leafName(from)} → ${leafName(to)}: ${triggers.join(", ")}`;
    const line = draw("path", { class: "move", d: WAYS[key] ?? "", "data-move": key }, draw("title", {}, told));
    this.ways.set(key, line);
    this.svg.append(line);
  }

  /** @param {string} leaf */
  box(leaf) {
    const { x, y, words } = PLACES[leaf];
    const height = leaf === "closed" ? 34 : BOX.height;
    const first = words.length > 1 ? y - 3 : y + 5;
    const box = draw(
      "g", { class: "leaf", "data-leaf": leaf, "data-state": LEAVES[leaf] },
      draw("rect", { x: x - BOX.width / 2, y: y - height / 2, width: BOX.width, height, rx: 9 }),
      ...words.map((word, index) => draw("text", { class: index ? "detail" : "name", x, y: first + index * 15 }, word)),
    );
    this.boxes.set(leaf, box);
    this.svg.append(box);
  }

  /** @param {string} leaf Where the machine is, with no way that led there; empty if there is none. */
  at(leaf) {
    this.path = [];
    this.show(leaf);
  }

  /** @param {Move} move */
  move(move) {
    if (move.from === "listening") this.path = [];
    this.path = [...this.path.slice(1 - MAX_PATH), move];
    this.show(move.to);
  }

  /** @param {string} leaf */
  show(leaf) {
    const last = this.path.at(-1);
    const gone = new Set(this.path.map(({ from, to }) => way(from, to)));
    const been = new Set(this.path.map(({ from }) => from));
    for (const [key, line] of this.ways) {
      line.classList.toggle("past", gone.has(key));
      line.classList.toggle("last", last !== undefined && key === way(last.from, last.to));
    }
    for (const [name, box] of this.boxes) {
      box.classList.toggle("live", name === leaf);
      box.classList.toggle("past", name !== leaf && been.has(name));
    }
    const came = last ? `, from ${leafName(last.from)} by ${last.trigger}` : "";
    this.svg.setAttribute("aria-label", `The state machine: ${leaf ? `now ${leafName(leaf)}${came}` : "no session"}`);
  }
}
