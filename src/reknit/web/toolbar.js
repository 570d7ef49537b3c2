// @ts-check
/**
 * The tools at the side, the options of the chosen one, and the view's buttons. Everything goes
 * through the editor's interface; what it holds is remembered between visits.
 */

import { byId, choices, fill, h, iconButton, paintSlider, slider, toggle } from "./dom.js";
import { icon } from "./icons.js";
import { openBeside, rove } from "./menu.js";
import { announce, complain } from "./notices.js";
import { say } from "./strings.js";

/** @typedef {import("./editor.js").Editor} Editor */

/** Each tool with its key, in the order they are shown; null is a line. @type {([string, string] | null)[]} */
export const TOOLS = [
  ["brush", "b"], ["eraser", "e"], null, ["rectangle", "r"], ["lasso", "l"], ["polygon", "p"], ["line", "n"], null,
  ["wand", "g"], ["smart", "s"], null, ["pan", "h"],
];
/** @type {Record<string, string[]>} */
const OPTIONS = {
  brush: ["size", "hardness", "pressure"], eraser: ["size", "hardness", "pressure"], line: ["size", "hardness"],
  wand: ["tolerance", "contiguous", "subtract"], rectangle: ["subtract"], lasso: ["subtract"], polygon: ["subtract"], smart: ["smart", "subtract"],
};
const SIZE_MOST = 1000;
const KEPT = ["size", "hardness", "pressure", "tolerance", "contiguous", "smart", "colour", "opacity"];
const STORE = "reknit-tools";

/** Where a brush size lies on its slider, 0 to 100: small sizes get as much room as large ones. @param {number} size */
const toSlider = (size) => (100 * Math.log(Math.max(1, size))) / Math.log(SIZE_MOST);
/** @param {number} position */
const fromSlider = (position) => Math.max(1, Math.round(SIZE_MOST ** (position / 100)));

export class Toolbar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.#recall();
    this.#drawTools();
    this.#drawOptions();
    this.#drawView();
    this.#watchPen();
    editor.addEventListener("tool", () => (this.#markTool(), this.#drawOptions()));
    editor.addEventListener("setting", () => (this.#markSettings(), this.#remember()));
    editor.addEventListener("view", (event) => this.#markZoom(/** @type {CustomEvent<{zoom: number}>} */ (event).detail.zoom));
  }

  /** @param {string} name @param {any} value */
  #put(name, value) {
    /** @type {any} */ (this.editor).set(name, value);
  }

  /** Whether a pen was ever seen here: only then its pressure is worth an option. */
  #pen = false;

  #watchPen() {
    const see = (/** @type {PointerEvent} */ event) => {
      if (event.pointerType !== "pen" || this.#pen) return;
      this.#pen = true;
      this.#remember();
      this.#drawOptions();
    };
    addEventListener("pointerover", see, true);
    addEventListener("pointerdown", see, true);
  }

  // --- tools -----------------------------------------------------------------------------------------------

  #drawTools() {
    const bar = byId("tools");
    const buttons = TOOLS.map((tool) => {
      if (!tool) return h("hr");
      const [name, key] = tool;
      return iconButton(say(`tool.${name}`), icon(name), {
        id: `tool-${name}`, "data-testid": `tool-${name}`, "data-key": key, "aria-keyshortcuts": key, onclick: () => this.pick(name),
      });
    });
    fill(bar, ...buttons);
    bar.addEventListener("keydown", (event) => rove(event, bar, ".tool"));
    this.#markTool();
  }

  /** Take up a tool. While borders are dragged there is no use for those that paint, and that is said. @param {string} name */
  pick(name) {
    if (!this.#resting) this.editor.setTool(name);
    else if (name !== "pan") announce(say("tool.rest"));
  }

  get #resting() {
    return this.editor.tool === "extend";
  }

  #markTool() {
    const tool = this.#resting ? "pan" : this.editor.tool;
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (byId("tools").querySelectorAll(".tool"))) {
      const mine = button.id === `tool-${tool}`;
      button.setAttribute("aria-pressed", String(mine));
      button.setAttribute("tabindex", mine ? "0" : "-1");
      button.setAttribute("aria-disabled", String(this.#resting && !mine));
      const words = button.getAttribute("aria-label") ?? "";
      button.dataset.tip = this.#resting && !mine ? say("tool.rest") : words;
    }
  }

  // --- options ---------------------------------------------------------------------------------------------

  #drawOptions() {
    const { editor } = this;
    const tool = String(editor.tool);
    const names = (OPTIONS[tool] ?? []).filter((name) => name !== "pressure" || this.#pen);
    const fields = names.map((name) => this.#option(name));
    const mask = h(
      "button",
      { type: "button", class: "button small plain", id: "mask-menu", "data-testid": "mask-menu", "aria-haspopup": "dialog", onclick: () => this.#openMask(mask).catch(complain) },
      icon("mask"), say("options.mask"),
    );
    fill(byId("options"), (names.length < 2 || tool === "smart") && h("span", { class: "hint" }, say(`tool.hint.${tool}`)), ...fields, mask);
  }

  /** @param {string} name */
  #option(name) {
    const { editor } = this;
    const settings = /** @type {Record<string, any>} */ (editor.settings);
    const words = say(`option.${name}`);
    if (name === "pressure" || name === "contiguous" || name === "subtract") {
      const control = toggle(words, settings[name], (on) => this.#put(name, on), { "data-testid": `option-${name}`, "data-setting": name });
      control.classList.add("field");
      if (name !== "subtract") control.classList.add("optional");
      return control;
    }
    if (name === "smart") {
      const ways = ["box", "scribble"].map((value) => ({ value, words: say(`smart.${value}`) }));
      return choices(words, ways, settings.smart, (way) => this.#put("smart", way), { testid: "option-smart" });
    }
    /** @type {Record<string, {max: number, to: (value: number) => number, from: (position: number) => number, words: (value: number) => string}>} */
    const scales = {
      size: { max: 100, to: toSlider, from: fromSlider, words: (value) => `${Math.round(value)}` },
      hardness: { max: 100, to: (value) => value * 100, from: (position) => position / 100, words: (value) => `${Math.round(value * 100)} %` },
      tolerance: { max: 255, to: (value) => value, from: (position) => position, words: (value) => `${value}` },
    };
    const scale = scales[name];
    const output = h("output", { "data-of": name }, scale.words(settings[name]));
    const range = slider(
      { min: 0, max: scale.max, step: name === "size" ? 0.5 : 1, value: String(scale.to(settings[name])), "aria-label": words, "data-testid": `option-${name}`, "data-setting": name },
      (position) => this.#put(name, scale.from(position)),
    );
    const show = () => {
      const value = /** @type {Record<string, any>} */ (editor.settings)[name];
      output.textContent = scale.words(value);
      range.setAttribute("aria-valuetext", scale.words(value));
      if (Math.abs(Number(range.value) - scale.to(value)) > 0.5) range.value = String(scale.to(value));
      paintSlider(range);
    };
    range.addEventListener("setting", show);
    return h("label", { class: name === "hardness" ? "field optional" : "field" }, h("span", null, words), range, output);
  }

  #markSettings() {
    const settings = /** @type {Record<string, any>} */ (this.editor.settings);
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("[data-setting]"))) {
      if (input.type === "checkbox") input.checked = Boolean(settings[input.dataset.setting ?? ""]);
      else input.dispatchEvent(new Event("setting"));
    }
  }

  #remember() {
    const settings = /** @type {Record<string, any>} */ (this.editor.settings);
    try {
      localStorage.setItem(STORE, JSON.stringify({ ...Object.fromEntries(KEPT.map((name) => [name, settings[name]])), pen: this.#pen }));
    } catch {
      // forbidden or full: the settings last as long as the page
    }
  }

  #recall() {
    try {
      const saved = JSON.parse(localStorage.getItem(STORE) ?? "{}");
      this.#pen = saved.pen === true;
      for (const name of KEPT) if (saved[name] !== undefined && saved[name] !== null) this.#put(name, saved[name]);
    } catch {
      localStorage.removeItem(STORE);
    }
  }

  /** @param {HTMLElement} button */
  async #openMask(button) {
    const { maskPanel } = await import("./mask_panel.js");
    openBeside(button, (close) => maskPanel(this.editor, close));
  }

  // --- the view --------------------------------------------------------------------------------------------

  #drawView() {
    const { editor } = this;
    const zoom = h("button", { type: "button", class: "zoom", id: "zoom", "data-testid": "zoom", "data-tip": say("view.actual"), "data-key": "z", onclick: () => editor.actualSize() }, "100 %");
    fill(
      byId("view"),
      iconButton(say("view.out"), icon("minus"), { "data-key": "-", onclick: () => editor.zoomBy(1 / 1.25) }),
      zoom,
      iconButton(say("view.in"), icon("plus"), { "data-key": "+", onclick: () => editor.zoomBy(1.25) }),
      iconButton(say("view.fit"), icon("fit"), { "data-testid": "fit", "data-key": "0", onclick: () => editor.fit() }),
    );
  }

  /** @param {number} zoom  device px per image px */
  #markZoom(zoom) {
    const percent = 100 * zoom;
    const words = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
    const button = byId("zoom");
    button.textContent = words;
    button.setAttribute("aria-label", `${say("view.actual")}, ${words}`);
  }

  /** @param {number} factor */
  resizeBrush(factor) {
    const { size } = /** @type {{size: number}} */ (this.editor.settings);
    const next = factor > 1 ? Math.max(size + 1, Math.round(size * factor)) : Math.min(size - 1, Math.round(size * factor));
    this.editor.set("size", Math.max(1, Math.min(SIZE_MOST, next)));
  }

  /** @param {number} step */
  hardenBrush(step) {
    const { hardness } = /** @type {{hardness: number}} */ (this.editor.settings);
    this.editor.set("hardness", Math.max(0, Math.min(1, +(hardness + step).toFixed(2))));
  }
}
