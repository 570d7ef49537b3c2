// @ts-check
/** How keys are called: one spelling for a press and for the words on the page. Binds nothing. */

import { say } from "./strings.js";

const mac = /Mac|iPhone|iPad/.test(navigator.platform);

/**
 * The spelling of a pressed key: "Ctrl Shift z", "b", "?". On a Mac, Command counts as Ctrl.
 * @param {KeyboardEvent} event
 */
export function spelling(event) {
  const control = event.ctrlKey || event.metaKey;
  const key = event.key === " " ? "Space" : event.key;
  const letter = key.length === 1 ? key.toLowerCase() : key;
  // Shift is part of what "?" or "{" means, but not of what a letter means.
  const shift = event.shiftKey && (key.length > 1 || key.toLowerCase() !== key.toUpperCase());
  return [control && "Ctrl", event.altKey && "Alt", shift && "Shift", letter].filter(Boolean).join(" ");
}

/**
 * The words on a key cap for a spelling.
 * @param {string} key
 */
export function keyWords(key) {
  /** @type {Record<string, string>} */
  const names = mac ? { Ctrl: "⌘", Shift: "⇧", Alt: "⌥", Enter: "↵", Delete: "⌦" } : { Enter: "↵", Delete: "Del" };
  names.Space = say("key.space");
  names.Wheel = say("key.wheel");
  names.Escape = "Esc";
  return key
    .split(" ")
    .map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join(mac ? "" : " ");
}
