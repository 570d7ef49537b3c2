// @ts-check
/**
 * How a job is to be done: engine, its options as its schema describes them, seed, variations, presets. Draws the
 * form and gives the fields of a request; knows nothing of the picture and its mask.
 */

import { choices, h, iconButton, slider, toggle } from "./dom.js";
import { engineChoices, enginePicker, readable, usualChoice } from "./engines.js";
import { icon } from "./icons.js";
import { openBeside } from "./menu.js";
import { toast } from "./notices.js";
import { knows, say } from "./strings.js";

/** @typedef {import("./engines.js").Catalogue} Catalogue */
/** @typedef {import("./api.js").OptionSchema} OptionSchema */
/** @typedef {Record<string, any>} Values */
/** @typedef {{engine: string, painter: string, params: Record<string, Values>, request: Values, count: number, seed: number, locked: boolean, preset: string}} State */
/** @typedef {{name: string, engine: string, params: Values, request: Values}} Preset */

const PRESETS = "reknit-presets";
const OWN_FIELDS = new Set(["engine", "seed", "count"]); // drawn by hand
const PROMPTS = new Set(["prompt", "negative_prompt"]); // drawn by the action
/** What is asked of painters in words, before what else they mark as important. */
const FIRST = ["strength", "steps", "guidance", "sampler"];
const MANY = 4; // choices in a row of segments
const SLIDER_STEPS = 200;

/** A seed drawn at random. */
export function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

export class Parameters extends EventTarget {
  /** @type {State} */
  state = { engine: "auto", painter: "", params: {}, request: {}, count: 1, seed: drawSeed(), locked: false, preset: "" };
  /** Whether an engine is wanted that is told in words; it is chosen apart from the others. */
  worded = false;
  #unfolded = false;

  /** @param {Catalogue} catalogue @param {import("./api.js").Api} api */
  constructor(catalogue, api) {
    super();
    this.api = api;
    this.catalogue = catalogue;
    this.state.engine = usualChoice(catalogue);
  }

  get #choices() {
    return engineChoices(this.catalogue, this.worded);
  }

  /** Whether there is an engine here that can do it. */
  get usable() {
    return this.#choices.some(({ usable }) => usable);
  }

  /** The key of the chosen engine. */
  get #key() {
    if (!this.worded) return this.state.engine;
    const keys = this.#choices.filter(({ usable }) => usable).map(({ key }) => key);
    return keys.includes(this.state.painter) ? this.state.painter : (keys[0] ?? "");
  }

  /** @param {string} key @returns {Partial<State>} */
  #choice(key) {
    return this.worded ? { painter: key } : { engine: key };
  }

  get #engine() {
    const name = this.#key.split("/")[0];
    return this.catalogue.engines.find((engine) => engine.name === name) ?? null;
  }

  /** Whether different seeds give different results. */
  get seeded() {
    return this.#engine?.seeded ?? true;
  }

  /** @param {Partial<State>} change @param {boolean} [redraw] */
  #set(change, redraw = false) {
    Object.assign(this.state, change);
    this.dispatchEvent(new CustomEvent("change", { detail: { redraw } }));
  }

  /** @param {Partial<State>} saved  what an earlier page kept; engines that are gone are not taken */
  restore(saved) {
    const engine = saved.engine ?? this.state.engine;
    const known = engineChoices(this.catalogue).some(({ key, usable }) => usable && key === engine);
    this.#set({ ...saved, engine: known ? engine : usualChoice(this.catalogue) }, true);
  }

  /**
   * The fields of a request. Draws a new seed unless it is locked.
   * @param {{knobs: boolean, count: boolean}} takes  whether the request takes the general knobs, and a count
   * @param {boolean} [draws]  false: the seed stays
   * @returns {Values}
   */
  fields({ knobs, count }, draws = true) {
    if (draws && !this.state.locked) this.#set({ seed: drawSeed() }, true);
    const { seed, request } = this.state;
    const choice = this.#choices.find(({ key }) => key === this.#key);
    const params = { ...this.#given() };
    if (choice?.model) params.model = choice.model;
    const how = this.seeded ? this.state.count : 1;
    return { engine: choice?.engine ?? "auto", params, seed, ...(count ? { count: how } : {}), ...(knobs ? request : {}) };
  }

  #given() {
    return this.state.params[this.#key] ?? {};
  }

  /**
   * Take over the recipe of a finished job.
   * @param {Values} payload
   */
  use(payload) {
    const params = { ...payload.params };
    const model = params.model;
    delete params.model;
    const engine = model ? `${payload.engine}/${model}` : String(payload.engine ?? "auto");
    /** @type {Values} */
    const request = {};
    for (const { name, default: usual } of this.#knobs()) {
      if (payload[name] !== undefined && payload[name] !== usual) request[name] = payload[name];
    }
    const { state } = this;
    this.restore({
      ...this.#choice(engine), request, params: { ...state.params, [engine]: params }, count: Math.min(payload.count ?? 1, 4), seed: payload.seed, locked: true, preset: "",
    });
  }

  #knobs() {
    return this.catalogue.request.filter(({ name }) => !OWN_FIELDS.has(name));
  }

  /**
   * Draw the form.
   * @param {{knobs: boolean, count: boolean}} takes
   * @returns {HTMLElement[]}
   */
  draw({ knobs, count }) {
    const options = (this.#engine?.options ?? []).filter(({ name }) => !PROMPTS.has(name) && name !== "model");
    const given = this.#given();
    const field = (/** @type {OptionSchema} */ option) =>
      control(option, given[option.name], (value) => this.#setParam(option, value), this.api);
    const early = FIRST.flatMap((name) => options.filter((option) => this.worded && option.name === name));
    const first = [...early, ...options.filter((option) => option.important && !early.includes(option))].map(field);
    const rest = options.filter((option) => !option.important && !early.includes(option)).map(field);
    const general = knobs
      ? this.#knobs().map((option) => control(option, this.state.request[option.name], (value) => this.#setKnob(option, value)))
      : [];
    const choices = this.#choices;
    if (choices.length === 0) return [];
    const engine = h(
      "div",
      { class: "stack" },
      h("div", { class: "row" }, h("span", { class: "label" }, say("engine.label")), this.#presets()),
      enginePicker(choices, this.#key, ({ key }) => this.#set({ ...this.#choice(key), preset: "" }, true)),
    );
    if (!this.usable) return [engine];
    return [
      engine,
      ...first,
      count ? this.#variations() : null,
      this.#seed(),
      this.#fold([...rest, ...general]),
    ].filter((part) => part !== null);
  }

  /** @param {OptionSchema} option @param {any} value */
  #setParam(option, value) {
    const { params } = this.state;
    this.#set({ params: { ...params, [this.#key]: changed(this.#given(), option, value) }, preset: "" });
  }

  /** @param {OptionSchema} option @param {any} value */
  #setKnob(option, value) {
    this.#set({ request: changed(this.state.request, option, value), preset: "" });
  }

  #variations() {
    const { seeded } = this;
    const counts = ["1", "2", "3", "4"].map((value) => ({ value, words: value, disabled: !seeded && value !== "1" }));
    return h(
      "div",
      { class: "row" },
      h("span", { class: "label" }, say("variations.count")),
      choices(say("variations.count"), counts, String(seeded ? this.state.count : 1), (value) => this.#set({ count: Number(value) }), { testid: "count" }),
    );
  }

  #seed() {
    if (!this.seeded) return null;
    const { seed, locked } = this.state;
    const lock = locked ? say("seed.lock") : say("seed.unlock");
    const input = h("input", {
      type: "number", class: "brief seed", min: 0, max: 2 ** 32 - 1, step: 1, value: String(seed), "aria-label": say("seed.label"), "data-testid": "seed",
      onchange: () => this.#set({ seed: clamp(Number(input.value) || 0, 0, 2 ** 32 - 1), locked: true }, true),
    });
    return h(
      "div",
      { class: "row" },
      h("span", { class: "label" }, say("seed.label")),
      h(
        "span",
        { class: "measure" },
        input,
        iconButton(say("seed.draw"), icon("dice"), { "data-testid": "seed-draw", onclick: () => this.#set({ seed: drawSeed() }, true) }),
        iconButton(lock, icon(locked ? "lock" : "unlock"), {
          "aria-label": say("seed.lock"), "aria-pressed": String(locked), "data-testid": "seed-lock", onclick: () => this.#set({ locked: !locked }, true),
        }),
      ),
    );
  }

  /** @param {HTMLElement[]} fields */
  #fold(fields) {
    if (fields.length === 0) return null;
    const reset = h("button", { type: "button", class: "link", onclick: () => this.#reset() }, say("settings.reset"));
    const fold = h(
      "details",
      { class: "fold", open: this.#unfolded, "data-testid": "more-settings", ontoggle: () => (this.#unfolded = fold.open) },
      h("summary", null, say("settings.more"), icon("chevron")),
      h("div", { class: "stack loose" }, ...fields, reset),
    );
    return fold;
  }

  #reset() {
    this.#set({ params: { ...this.state.params, [this.#key]: {} }, request: {}, preset: "" }, true);
  }

  #presets() {
    const keys = this.#choices.map(({ key }) => key);
    const presets = loadPresets().filter(({ engine }) => keys.includes(engine));
    const { preset } = this.state;
    const select = h(
      "select",
      {
        class: "quiet", "aria-label": say("presets.label"), "data-testid": "presets",
        onchange: () => this.#usePreset(presets.find(({ name }) => name === select.value)),
      },
      h("option", { value: "" }, say("presets.own")),
      ...presets.map(({ name }) => h("option", { value: name }, name)),
    );
    select.value = preset;
    const save = iconButton(say("presets.save"), icon("bookmark"), { id: "preset-save", "data-testid": "preset-save", onclick: () => this.#askPreset(save) });
    const remove = iconButton(say("presets.delete"), icon("trash"), {
      onclick: () => (storePresets(loadPresets().filter(({ name }) => name !== preset)), this.#set({ preset: "" }, true)),
    });
    return h("span", { class: "presets" }, presets.length > 0 && select, preset ? remove : save);
  }

  /** @param {Preset | undefined} preset */
  #usePreset(preset) {
    if (!preset) return this.#set({ preset: "" }, true);
    const params = { ...this.state.params, [preset.engine]: preset.params };
    this.restore({ ...this.#choice(preset.engine), params, request: preset.request, preset: preset.name });
  }

  /** @param {HTMLElement} button */
  #askPreset(button) {
    openBeside(button, (close) => {
      const input = h("input", { type: "text", maxlength: 40, required: true, "aria-label": say("presets.name"), placeholder: say("presets.name"), "data-testid": "preset-name" });
      const send = (/** @type {Event} */ event) => {
        event.preventDefault();
        const name = input.value.trim();
        if (!name) return;
        const { request } = this.state;
        const others = loadPresets().filter((preset) => preset.name !== name);
        storePresets([...others, { name, engine: this.#key, params: this.#given(), request }].sort((a, b) => a.name.localeCompare(b.name)));
        close();
        toast(say("presets.saved", { name }));
        this.#set({ preset: name }, true);
      };
      return h("form", { class: "pop stack", onsubmit: send }, input, h("button", { class: "button main small", "data-testid": "preset-store" }, say("presets.store")));
    });
  }
}

/** @returns {Preset[]} */
function loadPresets() {
  try {
    const found = JSON.parse(localStorage.getItem(PRESETS) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

/** @param {Preset[]} presets */
function storePresets(presets) {
  try {
    localStorage.setItem(PRESETS, JSON.stringify(presets));
  } catch {
    // no room, or a private window: they last as long as the page
  }
}

/** @param {Values} values @param {OptionSchema} option @param {any} value */
function changed(values, option, value) {
  const next = { ...values, [option.name]: value };
  if (value === option.default || value === null) delete next[option.name];
  return next;
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, Math.round(value)));
}

/**
 * The control that suits an option's type and range.
 * @param {OptionSchema} option @param {any} given  undefined for the default @param {(value: any) => void} changed
 * @param {import("./api.js").Api} [api]  takes options that are pictures
 * @returns {HTMLElement}
 */
function control(option, given, changed, api) {
  const words = knows(`parameter.${option.name}`) ? say(`parameter.${option.name}`) : readable(option.name);
  const value = given ?? option.default;
  const testid = `parameter-${option.name}`;
  const common = { "aria-label": words, "aria-description": option.description, "data-testid": testid };
  const label = h("span", null, h("span", { class: "label" }, words), help(words, option.description));
  if (option.type === "boolean") {
    return h("div", { class: "row" }, label, toggle("", value === true, changed, common));
  }
  if (option.enum) {
    const items = option.enum.map((name) => ({ value: name, words: readable(name) }));
    if (items.length <= MANY && items.reduce((n, item) => n + item.words.length, 0) <= 28) {
      return h("div", { class: "stack" }, label, choices(words, items, value, changed, { testid }));
    }
    const select = h("select", { ...common, onchange: () => changed(select.value) }, ...items.map((item) => h("option", { value: item.value }, item.words)));
    select.value = value;
    return h("div", { class: "stack" }, label, select);
  }
  if (option.type === "string") {
    const input = h("input", { type: "text", ...common, value: value ?? "", placeholder: option.default === null ? say("settings.auto") : null, onchange: () => changed(input.value || null) });
    const box = h("div", { class: "stack" }, label, input);
    if (api && option["x-names"] === "picture") import("./picture_field.js").then((field) => field.choosePicture(box, api, option, words, value, changed));
    return box;
  }
  return numeric(option, value, changed, label, common);
}

/**
 * @param {OptionSchema} option @param {number | null} value @param {(value: any) => void} changed
 * @param {HTMLElement} label @param {Values} common
 */
function numeric(option, value, changed, label, common) {
  const { minimum: low, maximum: high } = option;
  const whole = option.type === "integer";
  const bounded = low !== undefined && high !== undefined && option.default !== null && high - low <= 100;
  const step = whole ? 1 : bounded ? (high - low) / SLIDER_STEPS : "any";
  const input = h("input", {
    type: "number", class: "brief", min: low, max: high, step: whole ? 1 : "any", ...common, value: value ?? "", placeholder: say("settings.auto"),
    onchange: () => {
      const number = input.value === "" ? null : Number(input.value);
      if (number !== null && !input.checkValidity()) input.value = String(clamp(number, low ?? number, high ?? number));
      changed(input.value === "" ? null : Number(input.value));
      if (input.value === "" && option.default !== null) input.value = String(option.default);
      if (range) range.value = input.value;
    },
  });
  const range = bounded
    ? slider({ min: low, max: high, step, value: String(value), "aria-label": common["aria-label"] }, (number) => ((input.value = String(+number.toFixed(3))), changed(number)))
    : null;
  const measure = h("span", { class: "measure" }, input, option["x-unit"] ?? "");
  return h("div", { class: "stack" }, h("div", { class: "row" }, label, measure), range);
}

/** @param {string} words @param {string} description */
function help(words, description) {
  if (!description) return null;
  const sentence = description.charAt(0).toUpperCase() + description.slice(1);
  return h("button", { type: "button", class: "help", "aria-label": say("settings.help", { name: words }), "data-tip": sentence }, icon("info"));
}
