// Sign in with e-mail and password.

import { signIn } from "../api.js";
import { field, fill, h } from "../dom.js";
import { me, refreshMe } from "../me.js";
import { busy, problem, say } from "../say.js";

export function show(root, { query }) {
  const then = () => query.get("then") ?? "/";
  if (me.id) return location.replace(`#${then()}`); // signed in already, perhaps in another tab
  const email = h("input", {
    type: "email",
    name: "email",
    autocomplete: "username",
    required: true,
    inputmode: "email",
  });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const trouble = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Sign in");

  const submit = async (event) => {
    event.preventDefault();
    fill(trouble);
    await busy(button, async () => {
      try {
        await signIn(email.value.trim(), password.value);
        await refreshMe();
        say(`Signed in as ${me.name}.`);
        location.hash = then();
      } catch (error) {
        fill(trouble, problem(error));
        password.select();
      }
    });
  };
  fill(
    root,
    h(
      "form",
      { class: "card narrow", onsubmit: submit },
      h("h1", null, "Sign in"),
      field("E-mail", email),
      field("Password", password),
      trouble,
      button,
    ),
  );
  email.focus();
}
