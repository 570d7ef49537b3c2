// @ts-check
/** Making elements without HTML text. Knows nothing of the page. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any> | null} Properties */

/**
 * Make an element. `on…` are listeners, `class` its classes, true and false boolean attributes, null leaves out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Properties} [properties] @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") /** @type {any} */ (element).value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (kept(children)));
  return element;
}

/** @param {Child[]} children */
function kept(children) {
  return children
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (typeof child === "number" ? String(child) : child));
}

/**
 * The element with an id, which must exist.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/** @type {Promise<void> | null} */
let panelStyles = null;

/**
 * Fetch the looks of what is seen only on demand. Resolves also when they do not come: better plain than not at all.
 * @returns {Promise<void>}
 */
export function fetchPanelStyles() {
  panelStyles ??= new Promise((resolve) => {
    const done = () => resolve();
    document.head.append(h("link", { rel: "stylesheet", href: new URL("panels.css", import.meta.url).href, onload: done, onerror: done }));
  });
  return panelStyles;
}

/**
 * Replace what an element holds.
 * @param {Element} element @param {Child[]} children
 */
export function fill(element, ...children) {
  element.replaceChildren(.../** @type {(Node | string)[]} */ (kept(children)));
}

/**
 * A button that shows an icon and says its words to those who ask.
 * @param {string} label @param {Node} picture @param {Properties} properties
 */
export function iconButton(label, picture, properties = {}) {
  return h("button", { type: "button", class: "tool", "aria-label": label, "data-tip": label, ...properties }, picture);
}

/**
 * A slider that draws how far it is filled.
 * @param {Properties} properties @param {(value: number) => void} changed
 */
export function slider(properties, changed) {
  const input = h("input", { type: "range", ...properties });
  input.addEventListener("input", () => (paintSlider(input), changed(Number(input.value))));
  paintSlider(input);
  return input;
}

/** @param {HTMLInputElement} input */
export function paintSlider(input) {
  const low = Number(input.min || 0);
  const high = Number(input.max || 100);
  input.style.setProperty("--fill", `${((Number(input.value) - low) / (high - low || 1)) * 100}%`);
}

/**
 * A switch with its words.
 * @param {string} words @param {boolean} on @param {(on: boolean) => void} changed @param {Properties} [properties]
 */
export function toggle(words, on, changed, properties) {
  const input = h("input", { type: "checkbox", role: "switch", checked: on, ...properties });
  input.addEventListener("change", () => changed(input.checked));
  return h("label", { class: "switch" }, input, h("i", { "aria-hidden": "true" }), h("span", null, words));
}

let groups = 0;

/**
 * A row of choices of which one holds.
 * @param {string} label @param {{value: string, words: string, disabled?: boolean}[]} choices @param {string} chosen
 * @param {(value: string) => void} changed
 * @param {{look?: "segments" | "chips", testid?: string}} [how]
 */
export function choices(label, choices, chosen, changed, { look = "segments", testid } = {}) {
  const name = `group-${++groups}`;
  return h(
    "div",
    { class: look, role: "radiogroup", "aria-label": label, "data-testid": testid },
    ...choices.map(({ value, words, disabled }) =>
      h(
        "label",
        { class: look === "chips" ? "chip" : null },
        h("input", {
          type: "radio", name, value, disabled, checked: value === chosen, onchange: () => changed(value),
        }),
        words,
      ),
    ),
  );
}
