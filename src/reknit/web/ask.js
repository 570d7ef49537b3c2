// @ts-check
/** Questions that stop the work until they are answered. Knows nothing of what the answers lead to. */

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Api} Api */

/**
 * Whether to leave a picture with a mask that was not used yet.
 * @param {string} name @param {string} next  what would be opened in its place
 * @returns {Promise<boolean>}
 */
export async function askLeave(name, next) {
  if (document.querySelector("dialog[open]")) return false; // one question at a time
  let leaves = false;
  await openDialog(
    say("leave.title", { next }),
    (close) =>
      h(
        "div",
        { class: "stack loose" },
        h("p", { class: "lead" }, say("leave.text", { name })),
        h(
          "div",
          { class: "acts" },
          h("button", { type: "button", class: "button", onclick: close, "data-testid": "leave-stay" }, say("leave.stay")),
          h("button", { type: "button", class: "button main", onclick: () => ((leaves = true), close()), "data-testid": "leave-go" }, say("leave.go")),
        ),
      ),
    { look: "narrow", testid: "leave" },
  );
  return leaves;
}

/** @param {Api} api @returns {Promise<void>} */
export function askToken(api) {
  return openDialog(
    say("token.title"),
    (close) => {
      const input = h("input", { type: "password", autocomplete: "off", required: true, "aria-label": say("token.label"), placeholder: say("token.label"), autofocus: true, "data-testid": "token" });
      const wrong = h("p", { class: "wrong", role: "alert" });
      const send = async (/** @type {Event} */ event) => {
        event.preventDefault();
        if (await api.signIn(input.value.trim())) return close();
        wrong.textContent = say("token.wrong");
        input.select();
      };
      return h(
        "form",
        { onsubmit: send },
        h("p", { class: "lead" }, say("token.text")),
        input,
        wrong,
        h("div", { class: "acts" }, h("button", { class: "button main", "data-testid": "token-go" }, say("token.go"))),
      );
    },
    { look: "narrow", testid: "token-dialog", must: true },
  );
}
