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

/** Makes a button that does something, and cannot be pressed again meanwhile. */
export function button(text, act) {
  const found = made("button", { type: "button" }, text);
  found.addEventListener("click", async () => {
    found.disabled = true;
    try {
      await attempt(act);
    } finally {
      found.disabled = false;
    }
  });
  return found;
}

/** Does something, and says what went wrong with it. */
export async function attempt(act) {
  element("fault").hidden = true;
  try {
    return await act();
  } catch (error) {
    warn(error);
    return undefined;
  }
}

export function say(text) {
  element("status").textContent = text;
}

export function warn(error) {
  const place = element("fault");
  place.textContent = error.code ? `${error.code}: ${error.message}` : "Something went wrong in this page. Reload it.";
  place.hidden = false;
  if (!error.code) console.error(error);
}

export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  for (; number >= 1000 && at < units.length - 1; at++) number /= 1000;
  return `${at ? number.toFixed(1) : number} ${units[at]}`;
}

export function time(value) {
  if (!value) return "";
  const when = new Date(typeof value === "number" ? value * 1000 : value);
  return when.toLocaleString("sv").slice(0, 16);
}
