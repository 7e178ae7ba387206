// Elements without a framework. Text goes in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...wanted(children));
  return element;
}

const wanted = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** An element: h("p", { class: "hint", onclick }, "text", child). Null and false are left out. */
export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);

/** The same for SVG. */
export const s = (tag, props, ...children) => build(document.createElementNS(SVG, tag), props, children);

/** Puts children in the place of what the element held. */
export function fill(element, ...children) {
  element.replaceChildren(...wanted(children));
  return element;
}

/** As fill; whoever was at the third button with the keyboard is at the third button again. */
export function refill(element, ...children) {
  const stops = () => [...element.querySelectorAll("a, button, input, select, [tabindex]")];
  const place = stops().indexOf(document.activeElement);
  fill(element, ...children);
  if (place >= 0) stops()[place]?.focus();
}

/** An id that is used nowhere else on the page, for labels. */
export const uniqueId = (() => {
  let count = 0;
  return (prefix) => `${prefix}-${(count += 1)}`;
})();

/** A label with its control below. */
export function field(label, control, hint) {
  control.id ||= uniqueId("field");
  const hintId = hint ? `${control.id}-hint` : null;
  if (hintId) control.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("p", { class: "hint", id: hintId }, hint),
  );
}

/** A coloured word; the word says it, the colour only helps. */
export const pill = (tone, text, props) => h("span", { class: "pill", dataset: { tone }, ...props }, text);
