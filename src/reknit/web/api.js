// @ts-check
/**
 * The server's native API as promises: pictures, jobs, engines, selection, and one stream of events that
 * reconnects. Knows addresses and error answers; knows no elements, no words and no state of the page.
 */

/** @typedef {[number, number, number, number]} Box  x0, y0, x1, y1 in pixels, half-open */
/**
 * @typedef {object} Picture
 * @property {string} id
 * @property {number} width
 * @property {number} height
 * @property {number} bits
 * @property {boolean} alpha
 * @property {boolean} grey
 * @property {string} container
 * @property {number} bytes
 * @property {string} name
 * @property {string[]} notes
 * @property {string | null} parent
 * @property {string} original
 * @property {Box | null} box
 * @property {number} tile_px
 * @property {number} levels
 * @property {number} [seed]
 */
/**
 * @typedef {object} JobResult
 * @property {Picture[]} [images]
 * @property {string} [mask]
 * @property {number} [seed]
 * @property {Record<string, any>} [plan]
 * @property {string[]} [notes]
 * @property {Record<string, number>} [timings]
 * @property {Record<string, any>} [report]
 * @property {Record<string, number>} [counts]
 */
/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {"queued" | "running" | "done" | "failed" | "cancelled"} state
 * @property {number} priority
 * @property {number | null} position
 * @property {number} created
 * @property {number | null} started
 * @property {number | null} finished
 * @property {number} attempts
 * @property {string} stage
 * @property {number} fraction
 * @property {boolean} [cancel_requested]
 * @property {Record<string, any>} payload
 * @property {JobResult | null} result
 * @property {{code: string, message: string, hint: string, facts?: object} | null} error
 */
/**
 * @typedef {object} Progress
 * @property {string} id
 * @property {string} stage
 * @property {number} fraction
 * @property {number | null} seconds_left
 * @property {any} preview
 */
/**
 * @typedef {object} OptionSchema
 * @property {string} name
 * @property {string} type
 * @property {string} description
 * @property {any} default
 * @property {string[]} [enum]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {string} [x-unit]
 * @property {string} [x-names]  "picture": its value may be the id of an upload
 * @property {string[]} [examples]
 * @property {boolean} [important]
 */
/** @typedef {{name: string, title: string, seeded: boolean, needs_model: boolean, hurries?: boolean, options: OptionSchema[]}} Engine */
/** @typedef {{level: "fits" | "offload" | "wont-fit" | "unknown", reason: string}} Verdict */
/** @typedef {{name: string, engine: string, title: string, installed: boolean, verdict: Verdict}} Model */
/** @typedef {{mask: string, box: Box, area_px: number, method: string}} Selection */
/** @typedef {{signal?: AbortSignal}} Abort */
/** @typedef {Abort & {key?: string, wait?: number}} Submit */

/** What went wrong, in the server's words. `code` is "network" when there was no answer. */
export class ApiError extends Error {
  /** @param {{status: number, code: string, message?: string, hint?: string, facts?: object}} problem */
  constructor({ status, code, message = "", hint = "", facts = {} }) {
    super(message || code);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.facts = facts;
  }
}

const RETRIES_MS = [250, 500, 1000, 2000, 4000, 8000];
const AWAY_MS = [300, 500, 800, 1200, 2000];

/**
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** A name for one submission, so that sending it twice makes one job. */
export function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** @param {number} status @param {string} text */
function problem(status, text) {
  try {
    const found = JSON.parse(text);
    if (found && typeof found.code === "string") return new ApiError({ ...found, status });
    if (found && typeof found.message === "string") {
      return new ApiError({ status, code: `http.${status}`, message: found.message });
    }
  } catch {
    // not JSON: a proxy's page, say
  }
  return new ApiError({ status, code: `http.${status}` });
}

export class Api {
  /** Asked once when the server wants a token; resolves when it was given. @type {() => Promise<void>} */
  unlock = () => Promise.reject(new ApiError({ status: 401, code: "guard.token" }));
  /** @type {Promise<void> | null} */
  #unlocking = null;

  /** @param {URL | string} [base] */
  constructor(base = new URL("api/v1/", document.baseURI)) {
    this.base = new URL(base, document.baseURI);
  }

  /** @param {string} path @param {Record<string, any>} [query] */
  #url(path, query = {}) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
    }
    return url.href;
  }

  #ask() {
    this.#unlocking ??= this.unlock().finally(() => (this.#unlocking = null));
    return this.#unlocking;
  }

  /**
   * @param {string} url
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async #fetch(url, init = {}) {
    for (;;) {
      /** @type {Response} */
      let answer;
      try {
        answer = await fetch(url, init);
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw new ApiError({ status: 0, code: "network" });
      }
      if (answer.ok) return answer;
      if (answer.status !== 401) throw problem(answer.status, await answer.text());
      await this.#ask();
    }
  }

  /**
   * @param {string} path
   * @param {{query?: Record<string, any>, method?: string, body?: object, headers?: Record<string, string>, signal?: AbortSignal}} [how]
   * @returns {Promise<any>}
   */
  async #json(path, { query, method = "GET", body, headers = {}, signal } = {}) {
    const all = new Headers({ Accept: "application/json", ...headers });
    if (body !== undefined) all.set("Content-Type", "application/json");
    const text = body === undefined ? undefined : JSON.stringify(body);
    const answer = await this.#fetch(this.#url(path, query), { method, headers: all, body: text, signal });
    return answer.status === 204 ? null : answer.json();
  }

  /**
   * Send a picture or a mask; the same bytes give the same id.
   * @param {Blob} blob
   * @param {string} name
   * @param {Abort & {progress?: (fraction: number) => void}} [how]
   * @returns {Promise<Picture>}
   */
  async upload(blob, name, { signal, progress } = {}) {
    for (;;) {
      try {
        return await this.#send(blob, name, signal, progress);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        await this.#ask();
      }
    }
  }

  /**
   * @param {Blob} blob @param {string} name @param {AbortSignal} [signal] @param {(fraction: number) => void} [progress]
   * @returns {Promise<Picture>}
   */
  #send(blob, name, signal, progress) {
    return new Promise((resolve, reject) => {
      // fetch does not tell how much was sent
      const request = new XMLHttpRequest();
      request.open("POST", this.#url("images", { name }));
      request.setRequestHeader("Content-Type", blob.type || "application/octet-stream");
      request.upload.onprogress = (event) => event.lengthComputable && progress?.(event.loaded / event.total);
      request.onload = () => {
        if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
        else reject(problem(request.status, request.responseText));
      };
      request.onerror = () => reject(new ApiError({ status: 0, code: "network" }));
      request.onabort = () => reject(signal?.reason ?? new DOMException("aborted", "AbortError"));
      if (signal?.aborted) return request.onabort(new ProgressEvent("abort"));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(blob);
    });
  }

  /** @param {string} id @param {Abort} [how] @returns {Promise<Picture>} */
  image(id, how) {
    return this.#json(`images/${id}`, how);
  }

  /** @param {string} id @param {number} level @param {number} column @param {number} row */
  tileUrl(id, level, column, row) {
    return this.#url(`images/${id}/tiles/${level}/${column}/${row}`);
  }

  /** @param {string} id @param {number} [size] */
  thumbnailUrl(id, size = 256) {
    return this.#url(`images/${id}/thumbnail`, { size });
  }

  /** @param {string} id @param {{format?: string, quality?: number, name?: string}} [how]  name: what the file was called */
  fileUrl(id, { format, quality, name } = {}) {
    return this.#url(`images/${id}/file`, { format, quality, name });
  }

  /**
   * The bytes of a picture's file.
   * @param {string} id @param {Abort & {format?: string}} [how]
   * @returns {Promise<Blob>}
   */
  async file(id, { signal, format } = {}) {
    return (await this.#fetch(this.fileUrl(id, { format }), { signal })).blob();
  }

  /**
   * What an edit changed: the pixels of a box.
   * @param {string} id @param {Abort} [how]
   * @returns {Promise<{blob: Blob, box: Box}>}
   */
  async patch(id, { signal } = {}) {
    const answer = await this.#fetch(this.#url(`images/${id}/patch`), { signal });
    const box = (answer.headers.get("Reknit-Box") ?? "").split(",").map(Number);
    return { blob: await answer.blob(), box: /** @type {Box} */ (box) };
  }

  /**
   * Submit a job. Sent again with the same key when there is no answer, so that it is made once.
   * @param {"fill" | "extend" | "repair" | "batch"} kind @param {object} body @param {Submit} [how]
   * @returns {Promise<Job>}
   */
  async #submit(kind, body, { key = freshKey(), wait, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = { "Idempotency-Key": key };
    if (wait) headers.Prefer = `wait=${wait}`;
    for (const pause of [...RETRIES_MS, 0]) {
      try {
        return await this.#json(kind, { method: "POST", body, headers, signal });
      } catch (error) {
        if (!pause || !(error instanceof ApiError) || error.code !== "network") throw error;
        await sleep(pause, signal);
      }
    }
    throw new ApiError({ status: 0, code: "network" });
  }

  /** @param {object} body @param {Submit} [how] */
  fill(body, how) {
    return this.#submit("fill", body, how);
  }

  /** @param {object} body @param {Submit} [how] */
  extend(body, how) {
    return this.#submit("extend", body, how);
  }

  /** @param {object} body @param {Submit} [how] */
  repair(body, how) {
    return this.#submit("repair", body, how);
  }

  /**
   * How a fill would be carried out; nothing is filled.
   * @param {object} body @param {Abort} [how] @returns {Promise<Record<string, any>>}
   */
  plan(body, how) {
    return this.#json("plan", { method: "POST", body, ...how });
  }

  /** The folders that may be filled. @returns {Promise<{folders: {name: string, pictures: number}[]}>} */
  folders() {
    return this.#json("batch");
  }

  /** @param {object} body */
  batch(body) {
    return this.#submit("batch", body);
  }

  /** @param {string} id */
  reportUrl(id) {
    return new URL(`batch/${id}/report`, this.base).href;
  }

  /** @param {string} id @param {Abort} [how] @returns {Promise<Job>} */
  job(id, how) {
    return this.#json(`jobs/${id}`, how);
  }

  /**
   * @param {{state?: string, kind?: string, limit?: number, before?: string}} [query] @param {Abort} [how]
   * @returns {Promise<{jobs: Job[], counts: Record<string, number>}>}
   */
  jobs(query, how) {
    return this.#json("jobs", { query, ...how });
  }

  /** @param {string} id @returns {Promise<Job>} */
  cancel(id) {
    return this.#json(`jobs/${id}/cancel`, { method: "POST" });
  }

  /** @param {string} id @returns {Promise<Job>} */
  hurry(id) {
    return this.#json(`jobs/${id}/hurry`, { method: "POST" });
  }

  /** @param {string} id @returns {Promise<Job>} */
  retry(id) {
    return this.#json(`jobs/${id}/retry`, { method: "POST" });
  }

  /** @param {string} id @returns {Promise<void>} */
  remove(id) {
    return this.#json(`jobs/${id}`, { method: "DELETE" });
  }

  /** @param {Abort} [how] @returns {Promise<{engines: Engine[], request: OptionSchema[]}>} */
  engines(how) {
    return this.#json("engines", how);
  }

  /** @param {Abort} [how] @returns {Promise<{models: Model[]}>} */
  models(how) {
    return this.#json("models", how);
  }

  /** @param {object} body @param {Abort} [how] @returns {Promise<Selection>} */
  select(body, how) {
    return this.#json("select", { method: "POST", body, ...how });
  }

  /** @param {Abort} [how] @returns {Promise<Record<string, any>>} */
  health(how) {
    return this.#json("health", how);
  }

  /**
   * Give the token: the server answers with a cookie. Resolves to whether it was right.
   * @param {string} token
   * @returns {Promise<boolean>}
   */
  async signIn(token) {
    const page = new URL("./", document.baseURI);
    page.searchParams.set("token", token);
    await fetch(page, { cache: "no-store" }).catch(() => null);
    const answer = await fetch(this.#url("jobs", { limit: 1 })).catch(() => null);
    return answer !== null && answer.status !== 401;
  }

  /**
   * Listen to all jobs until `signal` aborts. Lost connections are taken up again, ever more patiently; the
   * server then begins with a snapshot, so nothing is missed.
   * @param {{job?: (job: Job) => void, progress?: (progress: Progress) => void, online?: (on: boolean) => void}} on
   * @param {{signal: AbortSignal}} how
   */
  events(on, { signal }) {
    /** @type {EventSource | null} */
    let source = null;
    let misses = 0;
    const open = () => {
      if (signal.aborted) return;
      source = new EventSource(this.#url("events"));
      source.onopen = () => ((misses = 0), on.online?.(true));
      source.onerror = () => (source?.close(), again());
      source.addEventListener("job", (e) => on.job?.(JSON.parse(/** @type {MessageEvent} */ (e).data)));
      source.addEventListener("progress", (e) => on.progress?.(JSON.parse(/** @type {MessageEvent} */ (e).data)));
    };
    const again = async () => {
      on.online?.(false);
      while (!signal.aborted) {
        try {
          await sleep(AWAY_MS[Math.min(misses++, AWAY_MS.length - 1)], signal);
          await this.jobs({ limit: 1 }, { signal }); // an EventSource cannot tell a 401 from silence
          return open();
        } catch {
          // still away, or asked to stop
        }
      }
    };
    signal.addEventListener("abort", () => source?.close(), { once: true });
    open();
  }
}
