// @ts-check
/**
 * A photo-like scene to try things on: a beach at noon with a ball on the sand, drawn by formula, the same each
 * time. Knows nothing of the page.
 */

const WIDTH = 1280;
const HEIGHT = 853;
const SEED = 7;
const BALL = { x: 812, y: 640, radius: 74 };
const SLICES = ["#f4f1e8", "#d8473b", "#f4f1e8", "#2f6fb0", "#f4f1e8", "#edb72e"];

/** @returns {Promise<Blob>} a JPEG file */
export function drawSample() {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("no canvas");
  ground(context);
  ball(context);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/jpeg", 0.93);
  });
}

/** Smooth noise between 0 and 1. @param {number} seed @returns {(x: number, y: number) => number} */
function noise(seed) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) => {
    let n = (Math.imul(x, 374761393) + Math.imul(y, 668265263) + Math.imul(seed, 974711)) | 0;
    n = Math.imul(n ^ (n >>> 13), 1274126177);
    return ((n ^ (n >>> 16)) >>> 0) / 4294967295;
  };
  const soft = (/** @type {number} */ t) => t * t * (3 - 2 * t);
  return (x, y) => {
    const [i, j] = [Math.floor(x), Math.floor(y)];
    const [u, v] = [soft(x - i), soft(y - j)];
    const above = at(i, j) + (at(i + 1, j) - at(i, j)) * u;
    const below = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * u;
    return above + (below - above) * v;
  };
}

/** @param {number[]} a @param {number[]} b @param {number} t */
function mix(a, b, t) {
  const part = Math.max(0, Math.min(1, t));
  return a.map((value, i) => value + (b[i] - value) * part);
}

/** Sky, sea and sand. @param {CanvasRenderingContext2D} context */
function ground(context) {
  const picture = context.createImageData(WIDTH, HEIGHT);
  const [large, fine, grain, wave] = [1, 2, 3, 4].map((n) => noise(SEED + n));
  const horizon = HEIGHT * 0.4;
  for (let y = 0, i = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++, i += 4) {
      const shore = HEIGHT * 0.6 + 26 * (large(x / 210, 3) - 0.5) + 10 * (fine(x / 48, 9) - 0.5);
      let colour;
      if (y < horizon) {
        const cloud = large(x / 190, y / 46) * 0.6 + fine(x / 70, y / 22) * 0.3 + grain(x / 24, y / 9) * 0.14;
        colour = mix(mix([74, 139, 201], [190, 217, 234], y / horizon), [246, 247, 247], (cloud - 0.54) * 3.2);
      } else if (y < shore) {
        const depth = (y - horizon) / (shore - horizon);
        const ripple = wave(x / (18 + 60 * depth), (y - horizon) / (1.6 + 5 * depth)) - 0.5;
        colour = mix([38, 104, 138], [120, 184, 184], depth ** 1.6).map((c) => c + ripple * 34);
        const foam = 1 - Math.abs(y - shore + 7) / 8 + fine(x / 9, y / 5) * 0.8 - 0.55;
        colour = mix(colour, [247, 249, 247], foam * 1.4);
      } else {
        const near = (y - shore) / (HEIGHT - shore);
        const dune = large(x / 120, y / 34) - 0.5 + 0.5 * (fine(x / (16 + 18 * near), y / (5 + 8 * near)) - 0.5);
        const wet = Math.max(0, 1 - (y - shore) / 46);
        colour = mix([219, 191, 148], [163, 137, 104], wet * 0.8 + near * 0.12).map((c) => c + dune * 34 + (grain(x * 0.9, y * 0.9) - 0.5) * 26);
      }
      const film = (grain(x * 1.7 + 400, y * 1.7) - 0.5) * 7;
      for (let c = 0; c < 3; c++) picture.data[i + c] = colour[c] + film;
      picture.data[i + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

/** The ball, and its shadow. @param {CanvasRenderingContext2D} context */
function ball(context) {
  const { x, y, radius } = BALL;
  context.save();
  context.filter = "blur(7px)";
  context.fillStyle = "rgb(70 48 28 / 55%)";
  context.beginPath();
  context.ellipse(x + 34, y + radius - 6, radius * 1.15, radius * 0.26, 0, 0, 2 * Math.PI);
  context.fill();
  context.restore();
  context.save();
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.clip();
  const [poleX, poleY] = [x - radius * 0.28, y - radius * 0.34];
  SLICES.forEach((colour, n) => {
    const [from, to] = [n, n + 1].map((k) => (k / SLICES.length) * 2 * Math.PI + 0.35);
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(poleX, poleY);
    context.arc(poleX, poleY, radius * 2, from, to);
    context.fill();
  });
  context.fillStyle = "#f4f1e8";
  context.beginPath();
  context.arc(poleX, poleY, radius * 0.15, 0, 2 * Math.PI);
  context.fill();
  const light = context.createRadialGradient(poleX, poleY - 8, radius * 0.1, x, y, radius);
  light.addColorStop(0, "rgb(255 255 255 / 38%)");
  light.addColorStop(0.45, "rgb(255 255 255 / 0%)");
  light.addColorStop(1, "rgb(40 22 8 / 50%)");
  context.fillStyle = light;
  context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  context.restore();
}
