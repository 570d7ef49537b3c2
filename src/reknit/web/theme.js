// @ts-check
/**
 * Light, dark, or as the system has it. Runs before the first paint, so that no wrong colour flashes; the
 * choice lies in localStorage. Knows no elements but the root.
 */

/** @typedef {"auto" | "light" | "dark"} Theme */
const KEY = "reknit-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @returns {Theme} */
export function theme() {
  try {
    const saved = localStorage.getItem(KEY);
    return saved === "light" || saved === "dark" ? saved : "auto";
  } catch {
    return "auto";
  }
}

function apply() {
  const chosen = theme();
  document.documentElement.dataset.theme = chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen;
}

/** Go to the next theme, and return it. @returns {Theme} */
export function nextTheme() {
  const order = /** @type {Theme[]} */ (["auto", "light", "dark"]);
  const next = order[(order.indexOf(theme()) + 1) % order.length];
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // private windows may forbid it; the choice then lasts until the page closes
  }
  apply();
  return next;
}

dark.addEventListener("change", apply);
apply();
