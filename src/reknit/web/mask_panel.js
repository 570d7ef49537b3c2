// @ts-check
/** The panel of the whole mask: grow, shrink, feather, invert, clear, files, looks, and what the engine will see. */

import { byId, fetchPanelStyles, h, slider, toggle } from "./dom.js";
import { icon } from "./icons.js";
import { complain } from "./notices.js";
import { say } from "./strings.js";

/** @typedef {import("./editor.js").Editor} Editor */

await fetchPanelStyles();

const COLOURS = { pink: "#ff3d81", orange: "#ff9a1f", green: "#19c37d", blue: "#2f8cff", white: "#ffffff" };
/** By how much to grow, shrink or feather, px; as it was chosen last. */
let distance = 4;

/** @param {Editor} editor @param {() => void} close */
export function maskPanel(editor, close) {
  const { empty } = editor.mask;
  const settings = /** @type {Record<string, any>} */ (editor.settings);
  const act = (/** @type {string} */ name, /** @type {string} */ picture, /** @type {() => any} */ run, disabled = empty) =>
    h("button", { type: "button", disabled, "data-testid": `mask-${name}`, onclick: () => attempt(run) }, icon(picture), say(`mask.${name}`));
  const amount = h("output", null, say("mask.amount", { px: distance }));
  const range = slider({ min: 1, max: 64, value: String(distance), "aria-label": say("mask.amount.label"), "data-testid": "mask-amount" }, (value) => {
    distance = value;
    amount.textContent = say("mask.amount", { px: value });
  });
  const swatches = Object.entries(COLOURS).map(([name, value]) =>
    h(
      "label",
      { class: `swatch ${name}` },
      h("input", { type: "radio", name: "colour", value, checked: settings.colour === value, "aria-label": say(`mask.colour.${name}`), onchange: () => editor.set("colour", value) }),
    ),
  );
  const opacity = slider({ min: 10, max: 100, value: String(Math.round((settings.opacity ?? 0.5) * 100)), "aria-label": say("mask.opacity"), "data-testid": "mask-opacity" }, (value) =>
    editor.set("opacity", value / 100),
  );
  return h(
    "div",
    { class: "pop", role: "dialog", "aria-label": say("mask.label"), "data-testid": "mask-panel" },
    h(
      "div",
      { class: "acts" },
      act("grow", "grow", () => editor.growMask(distance)),
      act("shrink", "shrink", () => editor.growMask(-distance)),
      act("feather", "feather", () => editor.featherMask(distance)),
      act("invert", "invert", () => editor.invertMask(), false),
    ),
    h("label", { class: "stack" }, h("span", { class: "row" }, h("span", { class: "muted" }, say("mask.amount.label")), amount), range),
    h("hr"),
    h(
      "div",
      { class: "acts" },
      act("clear", "trash", () => editor.clearMask()),
      act("export", "download", () => saveMask(editor)),
      act("import", "upload", () => (close(), byId("mask-input").click()), false),
    ),
    h("hr"),
    h("div", { class: "row" }, h("span", { class: "muted" }, say("mask.colour")), h("span", { class: "swatches", role: "radiogroup", "aria-label": say("mask.colour") }, ...swatches)),
    h("label", { class: "stack" }, h("span", { class: "muted" }, say("mask.opacity")), opacity),
    h("hr"),
    h(
      "div",
      { class: "stack" },
      toggle(say("mask.crop"), Boolean(settings.showCrop), (on) => editor.set("showCrop", on), { "data-testid": "show-crop" }),
      toggle(say("mask.ring"), Boolean(settings.showRing), (on) => editor.set("showRing", on), { "data-testid": "show-ring" }),
    ),
  );
}

/** Hand the mask out as a PNG file. @param {Editor} editor */
export async function saveMask(editor) {
  const blob = await editor.exportMask();
  const { name } = /** @type {import("./api.js").Picture} */ (editor.picture);
  const stem = name.replace(/\.[^.]*$/, "");
  const link = h("a", { href: URL.createObjectURL(blob), download: `${stem}-mask.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {() => any} run */
async function attempt(run) {
  try {
    await run();
  } catch (error) {
    complain(error);
  }
}
