// @ts-check
/**
 * Turns pointers, wheel and keys on the canvas into tool strokes and movements of the view.
 *
 * One finger or the pen paints, two fingers move and zoom (a second finger takes back what the first had begun),
 * the middle button or Space with a drag pans, the wheel zooms, a trackpad pans and pinches. The arrow keys move a
 * cursor and Space is its button, so that everything can be painted without a pointer.
 */

/** @typedef {import("./viewport.js").Viewport} Viewport */
/**
 * @typedef {object} Spot  where and how the pointer is
 * @property {number} x  image px
 * @property {number} y
 * @property {number} pressure  0…1
 * @property {string} type  mouse, pen, touch or keyboard
 * @property {boolean} shift
 * @property {boolean} alt
 * @property {[number, number]} [client]  where that is in the window
 */
/**
 * @typedef {object} Handler  takes a drag
 * @property {(spot: Spot) => void} down
 * @property {(spots: Spot[]) => void} move
 * @property {(spot: Spot) => void} up
 * @property {() => void} cancel
 */
/**
 * @typedef {object} Desk  what the input acts on
 * @property {Viewport} view
 * @property {(spot: Spot) => Handler | "pan" | null} take  who takes a drag that begins here
 * @property {(spot: Spot | null) => void} hover
 * @property {(key: string, spot: Spot | null) => boolean} key  whether the tool used the key
 * @property {(spot: Spot) => void} twice  a double click
 */

const TRACKPAD_GAP_MS = 250;
const WHEEL_STEP = 50;
const PEN_ERASER = 5;
const PEN_ERASER_HELD = 32;

export class Input {
  /** @param {HTMLElement} element @param {Desk} desk @param {AbortSignal} signal */
  constructor(element, desk, signal) {
    this.element = element;
    this.desk = desk;
    /** @type {Map<number, {x: number, y: number, type: string}>} client px */
    this.pointers = new Map();
    /** @type {"idle" | "tool" | "pan" | "pinch" | "spent"} */
    this.mode = "idle";
    this.leader = -1;
    /** @type {Handler | null} */
    this.handler = null;
    this.space = false;
    this.wheelAt = -Infinity;
    this.wheelPans = false;
    /** Keyboard cursor, image px. @type {{x: number, y: number} | null} */
    this.cursor = null;
    this.keyDown = false;
    element.style.touchAction = "none";
    const on = (/** @type {EventTarget} */ target, /** @type {string} */ name, /** @type {(event: any) => void} */ act, passive = true) =>
      target.addEventListener(name, act, { signal, passive });
    on(element, "pointerdown", (event) => this.#down(event), false);
    on(element, "pointermove", (event) => this.#move(event));
    on(element, "pointerup", (event) => this.#up(event));
    on(element, "pointercancel", (event) => this.#lost(event));
    on(element, "lostpointercapture", (event) => this.#lost(event));
    on(element, "pointerenter", () => this.#locate());
    on(element, "pointerleave", (event) => this.#leave(event));
    on(element, "dblclick", (event) => desk.twice(this.#spot(event)));
    on(element, "contextmenu", (event) => event.preventDefault(), false);
    on(element, "wheel", (event) => this.#wheel(event), false);
    on(element, "gesturestart", (event) => event.preventDefault(), false);
    on(element, "keydown", (event) => this.#keydown(event), false);
    on(element, "blur", () => this.#release());
    on(window, "keydown", (event) => this.#spaceDown(event), false);
    on(window, "keyup", (event) => this.#keyup(event), false);
    on(window, "blur", () => {
      this.space = false;
      this.#release();
    });
  }

  /** Take back a stroke that is under way. */
  cancel() {
    if (this.mode === "tool") this.mode = "spent";
    this.keyDown = false;
    const handler = this.handler;
    this.handler = null;
    handler?.cancel();
  }

  get drawing() {
    return this.handler !== null;
  }

  #locate() {
    this.desk.view.locate(this.element.getBoundingClientRect());
  }

  /** @param {PointerEvent | MouseEvent} event @returns {Spot} */
  #spot(event) {
    const { x, y } = this.desk.view.fromClient(event.clientX, event.clientY);
    const pointer = /** @type {PointerEvent} */ (event);
    return {
      x,
      y,
      pressure: pointer.pressure ?? 0.5,
      type: pointer.pointerType ?? "mouse",
      shift: event.shiftKey,
      // The other end of a pen takes away.
      alt: event.altKey || (pointer.pointerType === "pen" && (event.button === PEN_ERASER || (event.buttons & PEN_ERASER_HELD) !== 0)),
      client: [event.clientX, event.clientY],
    };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 && event.button !== 1 && event.button !== PEN_ERASER) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    this.cursor = null;
    if (this.keyDown) this.cancel();
    this.#locate();
    const penActive = [...this.pointers.values()].some((p) => p.type === "pen");
    if (penActive && event.pointerType === "touch") return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, type: event.pointerType });
    try {
      this.element.setPointerCapture(event.pointerId);
    } catch {
      // The pointer went up already.
    }
    if (event.pointerType === "touch" && this.pointers.size > 1) {
      this.cancel();
      this.mode = this.pointers.size === 2 ? "pinch" : "spent";
      this.desk.hover(null);
      return;
    }
    if (this.mode !== "idle") return;
    this.leader = event.pointerId;
    const spot = this.#spot(event);
    const taker = event.button === 1 || this.space ? "pan" : this.desk.take(spot);
    if (taker === "pan") {
      this.mode = "pan";
      this.element.classList.add("panning");
    } else if (taker) {
      this.mode = "tool";
      this.handler = taker;
      taker.down(spot);
      this.desk.hover(spot);
    } else this.mode = "spent";
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const known = this.pointers.get(event.pointerId);
    if (!known) {
      if (event.pointerType !== "touch") {
        this.cursor = null;
        this.desk.hover(this.#spot(event));
      }
      return;
    }
    const { view } = this.desk;
    if (this.mode === "pinch") this.#pinch(event, known);
    else if (event.pointerId === this.leader) {
      if (this.mode === "pan") {
        view.panBy((event.clientX - known.x) * view.ratio, (event.clientY - known.y) * view.ratio);
      } else if (this.mode === "tool") {
        const events = event.getCoalescedEvents?.() ?? [];
        this.handler?.move((events.length ? events : [event]).map((e) => this.#spot(e)));
      }
      this.desk.hover(this.#spot(event));
    }
    known.x = event.clientX;
    known.y = event.clientY;
  }

  /** Two fingers: keep what is under them under them. @param {PointerEvent} event @param {{x: number, y: number}} known */
  #pinch(event, known) {
    const { view } = this.desk;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return;
    const before = Math.max(8, Math.hypot(known.x - other.x, known.y - other.y));
    const after = Math.max(8, Math.hypot(event.clientX - other.x, event.clientY - other.y));
    const from = view.toDevice((known.x + other.x) / 2, (known.y + other.y) / 2);
    const to = view.toDevice((event.clientX + other.x) / 2, (event.clientY + other.y) / 2);
    view.panBy(to.x - from.x, to.y - from.y);
    view.zoomBy(after / before, to.x, to.y);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (event.pointerId === this.leader && this.mode === "tool") {
      const handler = this.handler;
      this.handler = null;
      handler?.up(this.#spot(event));
    }
    this.#ended(event);
  }

  /** @param {PointerEvent} event */
  #lost(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (event.pointerId === this.leader && this.mode === "tool") this.cancel();
    this.#ended(event);
  }

  /** @param {PointerEvent} event */
  #ended(event) {
    if (this.mode !== "idle" && this.pointers.size > 0) this.mode = this.mode === "pan" ? "pan" : "spent";
    if (this.pointers.size === 0) {
      this.mode = "idle";
      this.leader = -1;
      this.element.classList.remove("panning");
    }
    if (event.pointerType === "touch") this.desk.hover(null);
  }

  /** @param {PointerEvent} event */
  #leave(event) {
    if (!this.pointers.has(event.pointerId) && !this.cursor) this.desk.hover(null);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.#locate();
    const { view } = this.desk;
    const unit = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const dx = event.deltaX * unit;
    const dy = event.deltaY * unit;
    // A gesture that begins with a big, straight step is a wheel's; a trackpad's begins small.
    if (event.timeStamp - this.wheelAt > TRACKPAD_GAP_MS) {
      this.wheelPans = event.deltaMode === 0 && (dx !== 0 || Math.abs(dy) < WHEEL_STEP);
    }
    this.wheelAt = event.timeStamp;
    if (event.ctrlKey || event.metaKey || (!this.wheelPans && !event.shiftKey)) {
      const at = view.toDevice(event.clientX, event.clientY);
      const speed = event.ctrlKey && this.wheelPans ? 0.01 : 0.002;
      view.zoomBy(Math.exp(-Math.max(-300, Math.min(300, dy)) * speed), at.x, at.y);
    } else if (this.wheelPans) view.panBy(-dx * view.ratio, -dy * view.ratio);
    else view.panBy(-(dx || dy) * view.ratio, 0);
    if (!this.cursor) this.desk.hover(this.#spot(event));
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    if (event.ctrlKey || event.metaKey) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow) {
      event.preventDefault();
      event.stopPropagation();
      this.#step(arrow, event);
    } else if (event.key === " " && this.cursor) {
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat && !this.keyDown && this.mode === "idle") this.#press(event);
    } else if (event.key === "Escape" && this.drawing) {
      event.stopPropagation();
      this.cancel();
    } else if (this.desk.key(event.key, this.cursor && this.#keySpot(event))) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  /** Move the keyboard's cursor. @param {number[]} arrow @param {KeyboardEvent} event */
  #step([dx, dy], event) {
    const { view } = this.desk;
    const [x0, y0, x1, y1] = view.world;
    const step = Math.max(1, ((event.shiftKey ? 48 : 8) * view.ratio) / view.scale);
    if (!this.cursor) {
      const middle = view.toImage(view.width / 2, view.height / 2);
      this.cursor = { x: Math.min(x1, Math.max(x0, middle.x)), y: Math.min(y1, Math.max(y0, middle.y)) };
    } else {
      this.cursor = {
        x: Math.min(x1, Math.max(x0, this.cursor.x + dx * step)),
        y: Math.min(y1, Math.max(y0, this.cursor.y + dy * step)),
      };
    }
    view.reveal(this.cursor);
    const spot = this.#keySpot(event);
    if (this.keyDown) this.handler?.move([spot]);
    this.desk.hover(spot);
  }

  /** Space goes down at the keyboard's cursor. @param {KeyboardEvent} event */
  #press(event) {
    const spot = { ...this.#keySpot(event), shift: event.shiftKey };
    const taker = this.desk.take(spot);
    if (!taker || taker === "pan") return;
    this.keyDown = true;
    this.handler = taker;
    taker.down(spot);
  }

  /** Space is let go. */
  #release() {
    if (!this.keyDown || !this.cursor) return;
    this.keyDown = false;
    const handler = this.handler;
    this.handler = null;
    handler?.up({ ...this.cursor, pressure: 0.5, type: "keyboard", shift: false, alt: false });
  }

  /** @param {KeyboardEvent} event @returns {Spot} */
  #keySpot(event) {
    const { x, y } = this.cursor ?? { x: 0, y: 0 };
    return { x, y, pressure: 0.5, type: "keyboard", shift: false, alt: event.altKey };
  }

  /** @param {KeyboardEvent} event */
  #spaceDown(event) {
    if (event.key !== " " || event.defaultPrevented || this.cursor) return;
    const at = event.target;
    if (at !== document.body && !(at instanceof Node && this.element.contains(at))) return;
    event.preventDefault();
    this.space = true;
    this.element.classList.add("grabbing");
  }

  /** @param {KeyboardEvent} event */
  #keyup(event) {
    if (event.key !== " ") return;
    this.space = false;
    this.element.classList.remove("grabbing");
    this.#release();
  }
}
