// Which place is shown: by what the address names behind its #, and by what the token allows.

import { imports, peers, shares, usage } from "./administration.js";
import { attempt, element, made, say } from "./dom.js";
import { attributes, flat, levels, series, studies } from "./slides.js";
import { Store } from "./store.js";
import { uploads } from "./uploads.js";

const store = new Store();

/** Places of the page: name, title, the role that it takes, and what makes its content. */
const PLACES = [
  ["studies", "Slides", "read", hierarchy],
  ["list", "Flat list", "read", flat],
  ["upload", "Upload", "write", uploads],
  ["shares", "Shares", "share", (of, study) => shares(of, study)],
  ["imports", "Import log", "admin", imports],
  ["peers", "Peers", "admin", peers],
  ["storage", "Storage", "admin", usage],
];

async function hierarchy(of, study, _, uid, __, instance) {
  if (instance) return attributes(of, study, uid, instance);
  if (uid) return levels(of, study, uid);
  if (!study) return studies(of);
  const content = await series(of, study);
  if (of.may("share")) content.push(made("p", {}, made("a", { href: `#/shares/${study}` }, "Share this study")));
  return content;
}

let shown = 0;

async function show() {
  const allowed = PLACES.filter(([, , role]) => store.may(role));
  element("places").hidden = store.me === null;
  element("enter").hidden = store.me !== null;
  if (!store.me) {
    shown++;
    element("place").replaceChildren();
    say("");
    return;
  }
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const [current, title, , content] = allowed.find(([one]) => one === name) ?? allowed[0] ?? [];
  paintPlaces(allowed, current);
  if (!current) {
    say("This token opens nothing here.");
    return;
  }
  const mine = ++shown;
  say("Loading …");
  document.title = `${title} – Slide store`;
  const uids = rest.every((part) => /^[0-9.]{1,64}$|^series$|^instances$/.test(part)) ? rest : [];
  const found = await attempt(() => content(store, ...uids));
  if (mine !== shown) return; // something else has been chosen meanwhile
  say("");
  element("place").replaceChildren(...(found ?? []));
  element("place").focus();
}

function paintPlaces(allowed, current) {
  const leave = made("a", { href: "#/leave" }, "Leave");
  const links = allowed.map(([name, title]) =>
    made("a", { href: `#/${name}`, ...(name === current ? { "aria-current": "page" } : {}) }, title),
  );
  element("places").replaceChildren(...links, leave);
}

element("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = element("token").value;
  element("token").value = "";
  attempt(async () => {
    await store.enter(token);
    await show();
  });
});

window.addEventListener("hashchange", () => {
  if (location.hash === "#/leave") {
    store.leave();
    history.replaceState(null, "", location.pathname);
  }
  show();
});
