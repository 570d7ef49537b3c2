// @ts-check
/**
 * The picker of engines and models, each with a badge that says whether this machine can run it. Knows the
 * server's catalogue; knows no parameters.
 */

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Engine} Engine */
/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").OptionSchema} OptionSchema */
/** @typedef {{engines: Engine[], request: OptionSchema[], models: Model[]}} Catalogue */
/** @typedef {{key: string, engine: string, model: string | null, title: string, text: string, badges: [string, string][], usable: boolean}} Choice */

const LOOKS = { fits: "good", offload: "warn", "wont-fit": "bad", unknown: "" };

/**
 * What one can choose: automatic, engines that need no model, and models; or only those that are told in words.
 * @param {Catalogue} catalogue @param {boolean} [worded]
 * @returns {Choice[]}
 */
export function engineChoices({ engines: all, models }, worded = false) {
  const engines = all.filter(({ options }) => !worded || options.some(({ name }) => name === "prompt"));
  const ready = /** @type {[string, string]} */ ([say("verdict.ready"), "good"]);
  const auto = { key: "auto", engine: "auto", model: null, title: say("engine.auto"), text: say("engine.auto.text"), badges: [ready], usable: true };
  const plain = engines
    .filter(({ needs_model }) => !needs_model)
    .map(({ name, title }) => ({ key: name, engine: name, model: null, title: readable(name), text: title, badges: [ready], usable: true }));
  const learned = models.filter((model) => engines.some(({ name }) => name === model.engine)).map((model) => ({
    key: `${model.engine}/${model.name}`,
    engine: model.engine,
    model: model.name,
    title: model.title,
    text: model.verdict.reason,
    badges: badgesOf(model),
    usable: model.installed && model.verdict.level !== "wont-fit",
  }));
  return [...(worded ? [] : [auto]), ...plain, ...learned];
}

/**
 * The key of what is chosen before anybody chooses: what the server's settings say.
 * @param {Catalogue} catalogue
 */
export function usualChoice(catalogue) {
  const wanted = catalogue.request.find(({ name }) => name === "engine")?.default;
  const fits = engineChoices(catalogue).find(({ key, engine, usable }) => usable && (key === wanted || engine === wanted));
  return fits?.key ?? "auto";
}

/** @param {Model} model @returns {[string, string][]} words and look; the first says most */
function badgesOf({ installed, verdict }) {
  /** @type {[string, string]} */
  const fit = [say(`verdict.${verdict.level}`), LOOKS[verdict.level]];
  return installed ? [fit] : [[say("verdict.missing"), ""], fit];
}

/**
 * A name as words: "navier-stokes" → "Navier-stokes".
 * @param {string} name
 */
export function readable(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Make the picker.
 * @param {Choice[]} choices at least one @param {string} chosen  a key @param {(choice: Choice) => void} changed
 */
export function enginePicker(choices, chosen, changed) {
  const now = choices.find((choice) => choice.key === chosen) ?? choices[0];
  const box = h(
    "details",
    { class: "picker", "data-testid": "engine" },
    h("summary", null, h("span", { class: "unseen" }, say("engine.label")), h("span", { class: "label" }, now.title), badge(now.badges[0]), icon("chevron")),
    h(
      "div",
      { class: "choices", role: "radiogroup", "aria-label": say("engine.label") },
      ...choices.map((choice) =>
        h(
          "label",
          { class: "choice" },
          h("input", {
            type: "radio", name: "engine", value: choice.key, checked: choice === now, disabled: !choice.usable,
            "data-testid": `engine-${choice.key}`, onchange: () => changed(choice),
            onclick: (/** @type {MouseEvent} */ event) => event.detail > 0 && (box.open = false), // arrow keys leave it open
          }),
          h("span", { class: "label" }, choice.title),
          h("span", { class: "badges" }, ...choice.badges.map(badge)),
          h("small", null, choice.text),
        ),
      ),
    ),
  );
  return box;
}

/** @param {[string, string]} badge */
function badge([words, look]) {
  return h("span", { class: `badge ${look}` }, words);
}
