// What the page tells: aloud to screen readers, in passing, or in place.

import { wrap } from "./api.js";
import { h } from "./dom.js";

const TOAST_MS = 8000;

/** Has a screen reader say it; nothing is seen. */
export function say(text) {
  document.getElementById("say").textContent = text;
}

/** A note that goes by itself, said as well. */
export function toast(text, tone = "busy") {
  const note = h("div", { class: "toast", dataset: { tone } }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MS);
  say(text);
}

/** An error in the place where it happened. */
export function problem(error) {
  const { message, hint, code } = wrap(error);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("strong", null, sentence(message)),
    hint && h("p", null, sentence(hint)),
    code && h("p", { class: "code" }, `Code ${code}`),
  );
}

function sentence(text) {
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** The button is off, and says so, while the work goes on. */
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
