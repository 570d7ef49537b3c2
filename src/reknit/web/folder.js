// @ts-check
/**
 * A whole folder of the server's: the form that starts a batch, and the words for one in the queue. Fetched with the
 * queue.
 */

import { openDialog } from "./dialog.js";
import { choices, fill, h, toggle } from "./dom.js";
import { announce } from "./notices.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./api.js").Job} Job */
/** @typedef {{name: string, pictures: number}} Folder */

const WAYS = ["masks", "timestamp", "damage", "alpha"];

/** Ask which folder and how, and start. @param {Api} api @param {import("./jobs.js").Jobs} jobs */
export async function openFolder(api, jobs) {
  const [{ folders }, { engines }] = await Promise.all([api.folders(), api.engines()]);
  await openDialog(
    say("folder.title"),
    (close) => {
      if (folders.length === 0) return h("p", { class: "lead" }, say("folder.none"));
      const started = (/** @type {Job} */ job) => (jobs.add(job), announce(batchTitle(job)), close());
      return form(api, folders, engines.map(({ name }) => name), started);
    },
    { look: "narrow", testid: "folder" },
  );
}

/** @param {Api} api @param {Folder[]} folders @param {string[]} engines @param {(job: Job) => void} started */
function form(api, folders, engines, started) {
  let way = "masks";
  let again = false;
  const full = folders.filter(({ pictures }) => pictures > 0);
  const source = h(
    "select",
    { "data-testid": "folder-in", onchange: () => (out.value = beside(source.value)) },
    ...(full.length > 0 ? full : folders).map(({ name, pictures }) => h("option", { value: name }, `${name} (${pictures.toLocaleString()})`)),
  );
  const out = h("input", { type: "text", required: true, spellcheck: "false", "data-testid": "folder-out", value: beside(source.value) });
  const mask = h("input", { type: "text", required: true, spellcheck: "false", list: "folder-names", placeholder: "photos/masks", "data-testid": "folder-mask" });
  const engine = h("select", { "data-testid": "folder-engine" }, ...["auto", ...engines].map((name) => h("option", { value: name }, name)));
  const about = h("p", { class: "lead" });
  const maskField = field(say("folder.masks"), mask);
  const wrong = h("p", { class: "wrong", role: "alert" });
  const go = h("button", { class: "button main", "data-testid": "folder-go" }, say("folder.start"));
  const choose = (/** @type {string} */ value) => {
    way = value;
    maskField.hidden = mask.disabled = way !== "masks";
    about.textContent = say(`folder.${way}.about`);
  };
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    go.disabled = true;
    wrong.textContent = "";
    const how = way === "masks" ? { mask: mask.value.trim() } : way === "alpha" ? { mask_from: "alpha" } : { find: way };
    try {
      started(await api.batch({ folder: source.value, out: out.value.trim(), engine: engine.value, retry_failed: again, ...how }));
    } catch (error) {
      const { message, hint } = /** @type {import("./api.js").ApiError} */ (error);
      fill(wrong, [message, hint].filter(Boolean).join(". "));
    } finally {
      go.disabled = false;
    }
  };
  choose(way);
  const ways = WAYS.map((value) => ({ value, words: say(`folder.${value}`) }));
  return h(
    "form",
    { onsubmit: send },
    field(say("folder.in"), source),
    field(say("folder.out"), out),
    h("div", { class: "stack" }, h("span", { class: "label" }, say("folder.what")), choices(say("folder.what"), ways, way, choose, { testid: "folder-way" }), about),
    maskField,
    field(say("engine.label"), engine),
    toggle(say("folder.again"), again, (on) => (again = on)),
    h("datalist", { id: "folder-names" }, ...folders.map(({ name }) => h("option", { value: name }))),
    wrong,
    h("div", { class: "acts" }, go),
  );
}

/** @param {string} words @param {HTMLElement} control */
function field(words, control) {
  return h("label", { class: "stack" }, h("span", { class: "label" }, words), control);
}

/** A folder for results beside another. @param {string} name */
function beside(name) {
  return name.includes("/") ? `${name}-clean` : `${name}/clean`;
}

/** @param {Job} job */
export function batchTitle({ payload }) {
  return say("folder.of", { name: String(payload.folder) });
}

/** How far a batch is, or what came of it; null where the words of every job do. @param {Job} job @param {string} [told]  the latest stage */
export function batchState({ state, stage, result }, told) {
  if (state === "running") return told || stage || null;
  const { done = 0, failed = 0 } = result?.counts ?? {};
  if (state !== "done") return null;
  return say(failed ? "folder.failed" : "folder.done", { done: done.toLocaleString(), failed: failed.toLocaleString() });
}
