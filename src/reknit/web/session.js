// @ts-check
/**
 * Keeps each tab's work in IndexedDB, so that it survives a reload and a crash. A tab knows its own by an id in
 * sessionStorage, held by a lock so that a duplicated tab gets its own copy. Knows nothing of what it keeps.
 */

/** @typedef {{name: string, picture: string, data: any}} Content */
/** @typedef {Content & {id: string, updated: number}} Session */
/** @typedef {() => Content | null | Promise<Content | null>} Collect */

const DATABASE = "reknit";
const STORE = "sessions";
const ID = "reknit-session";
const SAVE_MS = 500;
const MOST = 12;
const LOCK_MS = 400;

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {string} */
function freshId() {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
}

/**
 * Hold a session's lock for as long as the page lives.
 * @param {string} id @returns {Promise<boolean>} false when another tab holds it
 */
function hold(id) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks
      .request(`${ID}-${id}`, { signal: AbortSignal.timeout(LOCK_MS) }, () => (resolve(true), new Promise(() => {})))
      .catch(() => resolve(false));
  });
}

export class Sessions {
  #id = "";
  /** @type {IDBDatabase | null} */
  #database = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Collect | null} */
  #collect = null;

  /** Find this tab's session. @returns {Promise<Session | null>} what it kept */
  async open() {
    try {
      this.#database = await openDatabase();
    } catch {
      return null; // private windows may have no database; the page then works without
    }
    const mine = sessionStorage.getItem(ID);
    const free = mine !== null && (await hold(mine));
    const kept = mine === null ? null : await this.#read(mine);
    if (mine !== null && free) {
      this.#id = mine;
      return kept;
    }
    this.#id = freshId();
    sessionStorage.setItem(ID, this.#id);
    await hold(this.#id);
    return kept; // a duplicated tab starts with a copy
  }

  /** The sessions of other tabs, the latest first. @returns {Promise<Session[]>} */
  async others() {
    const all = await this.#all();
    return all.filter(({ id }) => id !== this.#id).sort((a, b) => b.updated - a.updated);
  }

  /**
   * Keep what `collect` gives, soon after each `touch` and when the page goes away.
   * @param {Collect} collect
   */
  keep(collect) {
    this.#collect = collect;
    document.addEventListener("visibilitychange", () => document.hidden && this.save());
    addEventListener("pagehide", () => this.save());
  }

  touch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_MS);
  }

  /** @returns {Promise<any>} */
  async save() {
    clearTimeout(this.#timer);
    const found = await this.#collect?.();
    if (!found || !this.#database) return;
    await this.#run("readwrite", (store) => store.put({ ...found, id: this.#id, updated: Date.now() })).catch(() => null);
  }

  /** Forget this tab's session, and old ones that nobody took up. */
  async clear() {
    clearTimeout(this.#timer);
    await this.#forget(this.#id);
  }

  /** Drop all but the latest few. */
  async prune() {
    for (const { id } of (await this.others()).slice(MOST)) await this.#forget(id);
  }

  /** @param {string} id */
  async #forget(id) {
    await this.#run("readwrite", (store) => store.delete(id)).catch(() => null);
  }

  /** @param {string} id @returns {Promise<Session | null>} */
  async #read(id) {
    return (await this.#run("readonly", (store) => store.get(id)).catch(() => null)) ?? null;
  }

  /** @returns {Promise<Session[]>} */
  async #all() {
    return (await this.#run("readonly", (store) => store.getAll()).catch(() => null)) ?? [];
  }

  /**
   * @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest} act
   * @returns {Promise<any>}
   */
  #run(mode, act) {
    return new Promise((resolve, reject) => {
      if (!this.#database) return resolve(null);
      const request = act(this.#database.transaction(STORE, mode).objectStore(STORE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}
