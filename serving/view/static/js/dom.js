// Small help with the document. Text from slides and services is text, never HTML.

export function element(id) {
  return document.getElementById(id);
}

/** Makes an element with attributes and children; strings become text. */
export function made(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in found && typeof value !== "string") found[name] = value;
    else found.setAttribute(name, value);
  }
  found.append(...children);
  return found;
}

export function count(number) {
  return number.toLocaleString("en");
}

/** Says something to everyone, also to those who do not see it. */
export function say(text) {
  element("status").textContent = text;
}

/** Says what went wrong, and what to do. */
export function warn(error) {
  const text = error.code ? `${error.code}: ${error.message}` : "Something went wrong in this page. Reload it.";
  const place = element("fault");
  place.textContent = text;
  place.hidden = false;
  if (!error.code) console.error(error);
}

export function forgiven() {
  element("fault").hidden = true;
}
