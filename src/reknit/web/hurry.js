// @ts-check
/**
 * "Finish now": work that is painted step by step ends early, with the picture as far as it came. Fetched when a first
 * preview is seen, or with the queue.
 */

import { fetchPanelStyles, h } from "./dom.js";
import { announce, complain } from "./notices.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./jobs.js").Jobs} Jobs */

await fetchPanelStyles();

/** Jobs that were seen to paint, each with whether it was asked to finish. @type {Map<string, boolean>} */
const painting = new Map();

/**
 * Whether a job can end early: its engine says so, and a step of it was seen.
 * @param {Jobs} jobs @param {Job} job
 */
export function mayHurry(jobs, { id, state, payload }) {
  if (state !== "running" || !jobs.engines.some(({ name, hurries }) => hurries && name === payload.engine)) return false;
  if (jobs.progress(id)?.preview && !painting.has(id)) painting.set(id, false);
  return painting.has(id);
}

/**
 * The button that ends a job early; all of one job are pressed as one.
 * @param {Jobs} jobs @param {string} id @param {import("./dom.js").Properties} [properties]
 */
export function hurryButton(jobs, id, properties) {
  const show = (/** @type {Element} */ button) => {
    const asked = painting.get(id) ?? false;
    button.toggleAttribute("disabled", asked);
    button.textContent = say(asked ? "stage.done" : "run.hurry");
  };
  const ask = (/** @type {boolean} */ asked) => {
    painting.set(id, asked);
    document.querySelectorAll(`[data-hurry="${id}"]`).forEach(show);
  };
  const press = async () => {
    ask(true);
    announce(say("stage.done"));
    try {
      jobs.add(await jobs.api.hurry(id));
    } catch (error) {
      ask(false);
      complain(error);
    }
  };
  const button = h("button", { type: "button", class: "button", "data-tip": say("run.hurry.tip"), "data-hurry": id, onclick: press, ...properties });
  show(button);
  return button;
}

/**
 * Put the button beside the one that cancels the work under way, until that changes.
 * @param {import("./running.js").Running} running @param {HTMLButtonElement} cancel
 */
export function offerHurry(running, cancel) {
  const { job, jobs, element } = running;
  if (!job || cancel.disabled || element.querySelector("[data-hurry]") || !mayHurry(jobs, job)) return;
  const button = hurryButton(jobs, job.id, { "data-testid": "hurry" });
  cancel.before(button);
  running.addEventListener("change", () => button.remove(), { once: true });
}
