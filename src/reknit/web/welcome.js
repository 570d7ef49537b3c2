// @ts-check
/** The page without a picture: where to drop one, how to open one, a sample, and the work of an earlier tab. */

import { byId, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { ago, say, sayTouch } from "./strings.js";

const SVG = "http://www.w3.org/2000/svg";
const COLUMNS = 9;
const ROWS = 6;
const GAP = new Set(["4,1", "3,2", "4,2", "5,2", "3,3", "4,3", "5,3", "4,4"]);

/**
 * @typedef {object} Ways
 * @property {() => void} sample
 * @property {{name: string, updated: number, thumbnail: string, resume: () => void} | null} earlier
 */

/** @param {Ways} ways */
export function drawWelcome({ sample, earlier }) {
  const press = (/** @type {string} */ id) => (/** @type {Event} */ event) => (event.stopPropagation(), byId(id).click());
  const card = h(
    "div",
    { class: "card", onclick: press("file-input") },
    knitting(),
    h("h1", null, say("welcome.title")),
    h("p", { class: "lead" }, sayTouch("welcome.text")),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", class: "button main", "data-testid": "welcome-open", onclick: press("file-input") }, icon("open"), say("welcome.open")),
      h("button", { type: "button", class: "button phone-on", "data-testid": "welcome-camera", onclick: press("camera-input") }, icon("camera"), say("welcome.camera")),
      h("button", { type: "button", class: "button", "data-testid": "sample", onclick: (/** @type {Event} */ e) => (e.stopPropagation(), sample()) }, icon("picture"), say("welcome.sample")),
    ),
    h("p", { class: "fine" }, say("welcome.paste")),
    h("p", { class: "private" }, icon("shield"), say("welcome.private")),
  );
  const resume =
    earlier &&
    h(
      "button",
      { type: "button", class: "resume", "data-testid": "resume", onclick: earlier.resume },
      h("img", { src: earlier.thumbnail, alt: "", onerror: () => byId("welcome").querySelector(".resume")?.remove() }),
      h("span", null, h("strong", null, say("welcome.continue")), h("small", null, `${earlier.name} · ${ago(earlier.updated / 1000)}`)),
      icon("chevron"),
    );
  fill(byId("welcome"), h("div", { class: "middle" }, card, resume));
}

/** A piece of knitting with a hole that closes, stitch by stitch. */
function knitting() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 232 104");
  svg.setAttribute("class", "knit");
  svg.setAttribute("aria-hidden", "true");
  let n = 0;
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      const x = 7.5 + column * 24.5;
      const y = 7 + row * 14.5;
      const d = `M${x} ${y}l10.5 15l10.5 -15`;
      const hole = GAP.has(`${column},${row}`);
      svg.append(stitch(d, hole ? "gap" : ""));
      if (hole) svg.append(stitch(d, "new", n++));
    }
  }
  return svg;
}

/** @param {string} d @param {string} look @param {number} [n] */
function stitch(d, look, n) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", d);
  path.setAttribute("pathLength", "1");
  if (look) path.setAttribute("class", look);
  if (n !== undefined) path.style.setProperty("--n", String(n));
  return path;
}
