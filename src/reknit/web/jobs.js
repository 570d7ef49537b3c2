// @ts-check
/**
 * What the server works on, as this page knows it: kept up to date by the stream of events, and asked for where
 * the stream may have missed something. Tells of changes by events "job", "progress" and "online".
 */

import { ApiError } from "./api.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Progress} Progress */

const ASK_AGAIN_MS = 4000;
const RANK = { queued: 0, running: 1, done: 2, failed: 2, cancelled: 2 };

/** @param {Job} job */
export function finished(job) {
  return RANK[job.state] === 2;
}

/**
 * The verb that a job's payload came from.
 * @param {Job} job
 */
export function verbOf({ kind, payload }) {
  if (kind === "extend" || kind === "repair") return kind;
  return payload.params?.prompt ? "replace" : "remove";
}

export class Jobs extends EventTarget {
  /** @type {Map<string, Job>} */
  #known = new Map();
  /** @type {Map<string, Progress>} */
  #progress = new Map();
  /** @type {AbortController | null} */
  #listening = null;
  #followed = 0;
  online = true;
  /** What does the work. @type {import("./api.js").Engine[]} */
  engines = [];

  /** @param {Api} api */
  constructor(api) {
    super();
    this.api = api;
  }

  /** Listen while the page is seen, or waits for a job; a browser allows few streams to one server. */
  start() {
    const turn = () => (document.hidden && this.#followed === 0 ? this.#stop() : this.#listen());
    document.addEventListener("visibilitychange", turn);
    turn();
  }

  #listen() {
    if (this.#listening) return;
    this.#listening = new AbortController();
    this.api.events(
      {
        job: (job) => this.#take(job),
        progress: (progress) => {
          this.#progress.set(progress.id, progress);
          this.dispatchEvent(new CustomEvent("progress", { detail: progress }));
        },
        online: (on) => this.#turn(on),
      },
      { signal: this.#listening.signal },
    );
  }

  #stop() {
    this.#listening?.abort();
    this.#listening = null;
  }

  /** @param {boolean} on */
  #turn(on) {
    if (on === this.online) return;
    this.online = on;
    if (on) for (const job of this.active()) this.refresh(job.id);
    this.dispatchEvent(new CustomEvent("online", { detail: on }));
  }

  /** @param {Job} job */
  #take(job) {
    this.#known.set(job.id, job);
    if (finished(job)) this.#progress.delete(job.id);
    this.dispatchEvent(new CustomEvent("job", { detail: job }));
  }

  /**
   * Take in a job that came with an answer, unless the stream told something newer.
   * @param {Job} job
   * @returns {Job} the newest known
   */
  add(job) {
    const known = this.#known.get(job.id);
    if (known && RANK[known.state] > RANK[job.state]) return known;
    this.#take(job);
    return job;
  }

  /** @param {string} id */
  get(id) {
    return this.#known.get(id) ?? null;
  }

  /** @param {string} id */
  progress(id) {
    return this.#progress.get(id) ?? null;
  }

  /** Jobs that wait or run, in the order they were made. */
  active() {
    return [...this.#known.values()].filter((job) => !finished(job)).sort((a, b) => a.created - b.created);
  }

  /** Jobs that ended, the newest first. */
  ended() {
    return [...this.#known.values()].filter(finished).sort((a, b) => (b.finished ?? 0) - (a.finished ?? 0));
  }

  /** @param {string} id */
  async refresh(id) {
    try {
      this.#take(await this.api.job(id));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) return;
      this.forget(id);
    }
  }

  /** @param {string} id */
  forget(id) {
    const job = this.#known.get(id);
    this.#known.delete(id);
    this.#progress.delete(id);
    if (job) this.dispatchEvent(new CustomEvent("job", { detail: { ...job, state: finished(job) ? job.state : "cancelled" } }));
  }

  /** @param {string} id */
  async cancel(id) {
    this.add(await this.api.cancel(id));
  }

  /** @param {string} id */
  async retry(id) {
    this.#take(await this.api.retry(id));
  }

  /** @param {string} id */
  async remove(id) {
    await this.api.remove(id);
    this.forget(id);
  }

  /**
   * Wait until a job has ended.
   * @param {Job} job
   * @returns {Promise<Job>} done, failed or cancelled
   */
  async follow(job) {
    this.#followed += 1;
    this.#listen();
    const asking = setInterval(() => this.refresh(job.id), ASK_AGAIN_MS);
    try {
      const newest = this.add(job);
      if (finished(newest)) return newest;
      return await new Promise((resolve) => {
        const hear = (/** @type {Event} */ event) => {
          const heard = /** @type {CustomEvent<Job>} */ (event).detail;
          if (heard.id !== job.id || !finished(heard)) return;
          this.removeEventListener("job", hear);
          resolve(heard);
        };
        this.addEventListener("job", hear);
      });
    } finally {
      clearInterval(asking);
      this.#followed -= 1;
    }
  }
}
