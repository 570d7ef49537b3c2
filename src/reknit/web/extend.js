// @ts-check
/**
 * The amounts by which a picture is extended: fields and shapes in the panel, handles on the canvas. Knows the
 * editor's handles; submits nothing.
 */

import { choices, h } from "./dom.js";
import { say } from "./strings.js";

/** @typedef {{left: number, right: number, top: number, bottom: number}} Amounts */

const SIDES = /** @type {const} */ (["left", "right", "top", "bottom"]);
const SHAPES = ["1:1", "4:5", "3:2", "16:9", "9:16"];
const NONE = { left: 0, right: 0, top: 0, bottom: 0 };

/**
 * The least amounts, evenly on both sides, that give a picture a shape.
 * @param {{width: number, height: number}} picture @param {string} shape "16:9"
 * @returns {Amounts}
 */
export function amountsFor({ width, height }, shape) {
  const [across, down] = shape.split(":").map(Number);
  const wide = Math.max(0, Math.round((height * across) / down) - width);
  const high = Math.max(0, Math.round((width * down) / across) - height);
  const left = Math.floor(wide / 2);
  const top = Math.floor(high / 2);
  return { left, right: wide - left, top, bottom: high - top };
}

export class Extension extends EventTarget {
  amounts = NONE;
  #shape = "";
  #on = false;
  /** The tool to go back to. */
  #tool = "brush";
  /** @type {(() => void) | null} */
  #refresh = null;

  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    super();
    this.editor = editor;
    editor.addEventListener("extend", (event) => {
      const { left, right, top, bottom } = /** @type {CustomEvent<Amounts>} */ (event).detail;
      this.#shape = "";
      this.#take({ left, right, top, bottom });
    });
  }

  get empty() {
    return SIDES.every((side) => this.amounts[side] === 0);
  }

  /** Show or hide the handles on the canvas. @param {boolean} on */
  show(on) {
    this.#on = on;
    const { tool } = this.editor;
    if (on && tool !== "extend") {
      this.#tool = tool;
      this.editor.setTool("extend");
    } else if (!on && tool === "extend") this.editor.setTool(this.#tool);
    document.body.classList.toggle("extending", on);
    this.editor.setExtend(on && this.editor.picture ? this.amounts : null);
  }

  /** @param {Amounts} [amounts] */
  reset(amounts = NONE) {
    this.#shape = "";
    this.#put(amounts);
  }

  /** @param {Amounts} amounts */
  #put(amounts) {
    this.#take(amounts);
    if (this.#on) this.show(true);
  }

  /** @param {Amounts} amounts */
  #take(amounts) {
    this.amounts = amounts;
    this.#refresh?.();
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {HTMLElement[]} */
  draw() {
    const fields = SIDES.map((side) => {
      const input = h("input", {
        type: "number", class: "brief", min: 0, max: 20000, step: 1, "data-testid": `extend-${side}`,
        onchange: () => {
          this.#shape = "";
          this.#put({ ...this.amounts, [side]: Math.max(0, Math.min(20000, Math.round(Number(input.value) || 0))) });
        },
      });
      return { side, input };
    });
    const size = h("p", { class: "muted", "data-testid": "extend-size" });
    const shapes = h("div");
    this.#refresh = () => {
      for (const { side, input } of fields) input.value = String(this.amounts[side]);
      const { width, height } = this.editor.picture ?? { width: 0, height: 0 };
      const { left, right, top, bottom } = this.amounts;
      size.textContent = say("verb.extend.size", { width: width + left + right, height: height + top + bottom });
      for (const radio of shapes.querySelectorAll("input")) radio.checked = radio.value === this.#shape;
    };
    const items = [{ value: "", words: say("verb.extend.free") }, ...SHAPES.map((value) => ({ value, words: value }))];
    shapes.append(choices(say("verb.extend.aspect"), items, this.#shape, (shape) => this.#choose(shape), { look: "chips", testid: "aspect" }));
    this.#refresh();
    return [
      h("div", { class: "stack" }, h("span", { class: "label" }, say("verb.extend.aspect")), shapes),
      h(
        "div",
        { class: "quad" },
        ...fields.map(({ side, input }) => h("label", null, say(`verb.extend.${side}`), h("span", { class: "measure" }, input, "px"))),
      ),
      size,
    ];
  }

  /** @param {string} shape "" for free */
  #choose(shape) {
    this.#shape = shape;
    if (shape && this.editor.picture) this.#put(amountsFor(this.editor.picture, shape));
  }
}
