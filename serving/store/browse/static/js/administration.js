// What administrators see: the import log, peers, the use of storage. And shares, of who may share.

import { attempt, button, bytes, made, say, time } from "./dom.js";
import { table } from "./table.js";

export async function imports(store) {
  const { rows } = await store.json("store/imports");
  const columns = [
    { title: "When", value: (row) => time(row.time), cell: (row) => made("time", { datetime: row.time }, time(row.time)) },
    { title: "Who", value: (row) => row.who },
    { title: "Door", value: (row) => row.door ?? "" },
    { title: "Outcome", value: (row) => row.became ?? row.outcome },
    { title: "Reason", value: (row) => row.reason ?? "" },
    { title: "Instance", value: (row) => row.uids.at(-1) ?? "", cell: linkOf },
    { title: "Attributes removed", value: (row) => row.removed ?? "" },
  ];
  const hint = made("p", { class: "hint" }, "The newest imports; pathserve store audit has all.");
  return [made("h2", {}, "Import log"), hint, table({ name: "imports", columns, rows })];
}

function linkOf({ uids }) {
  if (uids.length !== 3) return "";
  const [study, series, instance] = uids;
  return made("a", { href: `#/studies/${study}/series/${series}/instances/${instance}` }, instance);
}

export async function peers(store) {
  const { peers: rows } = await store.json("store/peers");
  const columns = ["name", "kind", "address"].map((name) => ({
    title: name[0].toUpperCase() + name.slice(1),
    value: (row) => row[name],
  }));
  const hint = made("p", { class: "hint" }, "pathserve store send and pull exchange studies with them.");
  return [made("h2", {}, "Peers"), hint, table({ name: "peers", columns, rows })];
}

export async function usage(store) {
  const found = await store.json("store/usage");
  const facts = made("dl");
  for (const [name, value] of [
    ["Studies", found.studies],
    ["Series", found.series],
    ["Instances", found.instances],
    ["Slides take", bytes(found.size)],
    ["Free on the disk", `${bytes(found.disk_free)} of ${bytes(found.disk_total)}`],
  ]) facts.append(made("dt", {}, name), made("dd", {}, String(value)));
  return [made("h2", {}, "Storage"), facts];
}

export async function shares(store, study = "") {
  const place = made("div");
  const made_ = made("p", { role: "status" });

  async function list() {
    const { shares: rows } = await store.json("shares");
    const columns = [
      { title: "For", value: ({ name }) => name },
      { title: "Studies", value: (row) => (row.studies ?? []).join(" ") },
      { title: "Ends", value: (row) => time(row.expires) },
      { title: "State", value: (row) => (row.valid ? "valid" : row.revoked ? "revoked" : "ended") },
      { title: "End it", cell: (row) => (row.valid ? button("End", () => end(row)) : "") },
    ];
    place.replaceChildren(table({ name: "shares", columns, rows }));
  }

  async function end({ id, name }) {
    await store.ask(`shares/${id}`, { method: "DELETE" });
    say(`The share for ${name} has ended`);
    await list();
  }

  const field = (id, label, options) => [made("label", { for: id }, label), made("input", { id, required: true, ...options })];
  const form = made(
    "form",
    { autocomplete: "off" },
    ...field("share-study", "Study", { value: study, spellcheck: "false" }),
    ...field("share-name", "For whom", {}),
    ...field("share-days", "Days", { type: "number", min: "1", max: "366", value: "14" }),
    made("div", { class: "row" }, made("button", {}, "Share")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const value = (id) => form.querySelector(`#${id}`).value.trim();
      const days = Number(value("share-days"));
      const answer = await store.post("shares", { studies: [value("share-study")], name: value("share-name"), days });
      const secret = made("span", { class: "secret", id: "shared-token" }, answer.token);
      made_.replaceChildren("Shown this once; it opens the study here and by DICOMweb: ", secret);
      await list();
    });
  });
  await list();
  return [made("h2", {}, "Shares"), form, made_, place];
}
