// @ts-check
/** Lines and handles drawn over the picture, in a light and a dark stroke so that they are seen over any colour. */

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./viewport.js").Point} Point */

const LIGHT = "rgba(255, 255, 255, 0.95)";
const DARK = "rgba(0, 0, 0, 0.55)";
const ACCENT = "#4ad2ff";

/** Stroke the current path. @param {Context} context @param {number} ratio @param {{dashed?: boolean, colour?: string, width?: number}} [how] */
export function outline(context, ratio, { dashed = false, colour = LIGHT, width = 1.25 } = {}) {
  context.setLineDash([]);
  context.lineJoin = "round";
  context.lineWidth = (width + 2) * ratio;
  context.strokeStyle = DARK;
  context.stroke();
  if (dashed) context.setLineDash([6 * ratio, 4 * ratio]);
  context.lineWidth = width * ratio;
  context.strokeStyle = colour;
  context.stroke();
  context.setLineDash([]);
}

/** Trace image points. @param {Context} context @param {Viewport} view @param {Point[]} points @param {boolean} closed */
export function path(context, view, points, closed) {
  context.beginPath();
  for (const { x, y } of points) context.lineTo(x * view.scale + view.x, y * view.scale + view.y);
  if (closed) context.closePath();
}

/** Trace a box of image px. @param {Context} context @param {Viewport} view @param {readonly number[]} box */
export function frame(context, view, [x0, y0, x1, y1]) {
  const left = Math.round(x0 * view.scale + view.x) + 0.5;
  const top = Math.round(y0 * view.scale + view.y) + 0.5;
  context.beginPath();
  context.rect(left, top, Math.round((x1 - x0) * view.scale) - 1, Math.round((y1 - y0) * view.scale) - 1);
}

/**
 * The ring of a brush.
 * @param {Context} context @param {Viewport} view @param {Point} at image @param {number} radius image px
 * @param {{hardness: number, erase: boolean}} how
 */
export function ring(context, view, at, radius, { hardness, erase }) {
  const x = at.x * view.scale + view.x;
  const y = at.y * view.scale + view.y;
  const r = radius * view.scale;
  const ratio = view.ratio;
  if (r >= 2.5 * ratio) {
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    outline(context, ratio, { dashed: erase });
  }
  // Where a soft brush is half as strong: so far it fills.
  const half = ((1 + hardness) / 2) * r;
  if (hardness < 0.9 && half >= 5 * ratio) {
    context.beginPath();
    context.arc(x, y, half, 0, 2 * Math.PI);
    context.lineWidth = ratio;
    context.strokeStyle = "rgba(255, 255, 255, 0.45)";
    context.stroke();
  }
  const arm = (r < 6 * ratio ? 8 : 2.5) * ratio;
  const gap = r < 6 * ratio ? r + 2 * ratio : 0;
  context.beginPath();
  for (const [dx, dy] of gap ? [[1, 0], [-1, 0], [0, 1], [0, -1]] : [[1, 0], [0, 1]]) {
    context.moveTo(x + dx * (gap || -arm), y + dy * (gap || -arm));
    context.lineTo(x + dx * (gap + arm), y + dy * (gap + arm));
  }
  outline(context, ratio, { width: 1 });
}

/** A cross for tools that point. @param {Context} context @param {Viewport} view @param {Point} at image */
export function cross(context, view, at) {
  const x = at.x * view.scale + view.x;
  const y = at.y * view.scale + view.y;
  const arm = 11 * view.ratio;
  const gap = 3 * view.ratio;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + dx * gap, y + dy * gap);
    context.lineTo(x + dx * arm, y + dy * arm);
  }
  outline(context, view.ratio);
}

/** A round handle. @param {Context} context @param {number} x device @param {number} y device @param {number} radius device px @param {boolean} [held] */
export function knob(context, x, y, radius, held = false) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = held ? ACCENT : "#ffffff";
  context.fill();
  context.lineWidth = Math.min(radius / 4, 3);
  context.strokeStyle = DARK;
  context.stroke();
}

/** The bar of the before/after slider. @param {Context} context @param {Viewport} view @param {number} x device @param {number} y0 device @param {number} y1 device */
export function divider(context, view, x, y0, y1) {
  const ratio = view.ratio;
  context.beginPath();
  context.moveTo(x, y0);
  context.lineTo(x, y1);
  outline(context, ratio, { width: 2 });
  const y = (Math.max(0, y0) + Math.min(view.height, y1)) / 2;
  knob(context, x, y, 15 * ratio);
  context.beginPath();
  for (const side of [-1, 1]) {
    context.moveTo(x + side * 4 * ratio, y - 4 * ratio);
    context.lineTo(x + side * 8 * ratio, y);
    context.lineTo(x + side * 4 * ratio, y + 4 * ratio);
  }
  context.lineWidth = 1.75 * ratio;
  context.lineCap = "round";
  context.strokeStyle = "#22262b";
  context.stroke();
  context.lineCap = "butt";
}

/** A turning arc: something is being worked out here. @param {Context} context @param {Viewport} view @param {Point} at image @param {number} turn */
export function spinner(context, view, at, turn) {
  const start = turn * 2 * Math.PI;
  context.beginPath();
  context.arc(at.x * view.scale + view.x, at.y * view.scale + view.y, 16 * view.ratio, start, start + 1.5 * Math.PI);
  context.lineCap = "round";
  outline(context, view.ratio, { width: 2.5 });
  context.lineCap = "butt";
}

/** A label of numbers on a dark pill. @param {Context} context @param {Viewport} view @param {string} text @param {number} x device @param {number} y device */
export function label(context, view, text, x, y) {
  const ratio = view.ratio;
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const width = context.measureText(text).width + 16 * ratio;
  const left = Math.min(view.width - width - 4 * ratio, Math.max(4 * ratio, x - width / 2));
  context.beginPath();
  context.roundRect(left, y - 11 * ratio, width, 22 * ratio, 11 * ratio);
  context.fillStyle = "rgba(17, 20, 24, 0.85)";
  context.fill();
  context.fillStyle = "#ffffff";
  context.fillText(text, left + width / 2, y);
}
