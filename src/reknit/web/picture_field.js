// @ts-check
/**
 * An option that is a picture: chosen or dropped, uploaded, and from then on known by its id. Fetched with the first
 * engine that has such options. Knows what the server tells of a picture; not what it is for.
 */

import { byId, choices, fetchPanelStyles, fill, h, iconButton } from "./dom.js";
import { readable } from "./engines.js";
import { icon } from "./icons.js";
import { announce, complain } from "./notices.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./api.js").OptionSchema} OptionSchema */
/** @typedef {import("./api.js").Picture} Picture */

await fetchPanelStyles();

const THUMB_PX = 128;
const ID = /^[0-9a-f]{64}$/;
/** What is known of pictures by their ids. @type {Map<string, Promise<Picture>>} */
const known = new Map();

/**
 * Put the field into an option's box, in place of the one for text. Where words may stand for pictures they are offered.
 * @param {HTMLElement} box @param {Api} api @param {OptionSchema} option @param {string} label
 * @param {string | null} given @param {(value: string | null) => void} changed
 */
export function choosePicture(box, api, option, label, given, changed) {
  const testid = `parameter-${option.name}`;
  const { examples = [] } = option;
  const input = h("input", { type: "file", hidden: true, accept: /** @type {HTMLInputElement} */ (byId("file-input")).accept, "data-testid": `${testid}-file`, onchange: () => take(input.files?.[0]) });
  const well = h("div", { class: "well", "data-testid": testid });
  const words = h("div");
  let turn = 0; // a picture that comes late must not replace a newer choice

  /** @param {string | null} value */
  const set = (value) => {
    turn += 1;
    changed(value);
    draw(value);
  };
  const pick = (/** @type {Node[]} */ ...children) =>
    h("button", { type: "button", class: "pick-file", "aria-label": `${label}: ${say(given && ID.test(given) ? "picture.other" : "picture.choose")}`, onclick: () => input.click() }, ...children);

  /** @param {File | undefined} file */
  const take = async (file) => {
    input.value = "";
    if (!file) return;
    const mine = ++turn;
    well.setAttribute("aria-busy", "true");
    fill(well, h("span", { class: "muted" }, say("open.sending", { name: file.name })));
    try {
      const picture = await api.upload(file, file.name);
      if (mine !== turn) return;
      known.set(picture.id, Promise.resolve({ ...picture, name: picture.name || file.name }));
      set(picture.id);
      announce(say("picture.taken", { name: file.name, option: label }));
    } catch (error) {
      if (mine === turn) draw(given);
      complain(error);
    }
  };

  /** @param {string | null} value */
  const draw = (value) => {
    given = value;
    const chosen = value !== null && ID.test(value);
    well.removeAttribute("aria-busy");
    if (examples.length > 0) {
      const items = ["", ...examples].map((name) => ({ value: name, words: name ? readable(name) : readable(say("settings.auto")) }));
      fill(words, choices(label, items, chosen ? "-" : (value ?? ""), (name) => set(name || null), { testid: `${testid}-words` }));
    }
    if (!chosen) return fill(well, pick(icon("picture"), h("span", { class: "label" }, say("picture.choose")), h("small", { class: "muted wide-only" }, say("picture.drop"))));
    const name = h("strong");
    const size = h("small");
    fill(
      well,
      pick(h("img", { src: api.thumbnailUrl(value, THUMB_PX), alt: "" }), h("span", null, name, size)),
      iconButton(say("picture.clear"), icon("close"), { "data-testid": `${testid}-clear`, onclick: () => (set(null), well.querySelector("button")?.focus()) }),
    );
    tell(value, name, size);
  };

  /** @param {string} id @param {HTMLElement} name @param {HTMLElement} size */
  const tell = async (id, name, size) => {
    if (!known.has(id)) known.set(id, api.image(id));
    try {
      const picture = await /** @type {Promise<Picture>} */ (known.get(id));
      name.textContent = picture.name;
      size.textContent = say("file.size", { width: picture.width, height: picture.height });
    } catch {
      known.delete(id);
      name.textContent = say("error.gone");
    }
  };

  let depth = 0;
  const over = (/** @type {number} */ step) => well.classList.toggle("over", (depth = step && Math.max(0, depth + step)) > 0);
  well.addEventListener("dragenter", () => over(1));
  well.addEventListener("dragleave", () => over(-1));
  well.addEventListener("drop", (event) => {
    over(0);
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault(); // the window would open it
    take(file);
  });
  draw(given);
  box.lastElementChild?.replaceWith(...(examples.length > 0 ? [words] : []), well, input);
}
