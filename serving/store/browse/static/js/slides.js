// Studies, their series, and the levels of these; the flat list of series; an instance's attributes.

import { bytes, made, time } from "./dom.js";
import { text } from "./store.js";
import { table } from "./table.js";
import { thumbnail } from "./thumbnails.js";

const [STUDY, SERIES, INSTANCE] = ["0020000D", "0020000E", "00080018"];

const column = (title, tag) => ({ title, value: (row) => text(row, tag) });

function linked(title, tag, target) {
  return {
    title,
    value: (row) => text(row, tag),
    cell: (row) => made("a", { href: `#/${target(row)}` }, text(row, tag)),
  };
}

const studyOf = (row) => `studies/${text(row, STUDY)}`;
const seriesOf = (row) => `${studyOf(row)}/series/${text(row, SERIES)}`;
const instanceOf = (row) => `${seriesOf(row)}/instances/${text(row, INSTANCE)}`;

function pictured(store, pathOf) {
  return { title: "Picture", cell: (row) => thumbnail(store, pathOf(row), "Small picture of the slide") };
}

/** The way back up: what of the hierarchy is open. */
function path(...uids) {
  const names = ["studies", "series", "instances"];
  const links = [made("a", { href: "#/studies" }, "All studies")];
  uids.forEach((uid, depth) => {
    const target = uids.slice(0, depth + 1).flatMap((one, at) => [names[at], one]);
    links.push(" › ", made("a", { href: `#/${target.join("/")}` }, uid));
  });
  return made("nav", { class: "path", "aria-label": "Where you are" }, ...links);
}

export async function studies(store) {
  const columns = [
    pictured(store, studyOf),
    linked("Study", STUDY, studyOf),
    column("Date", "00080020"),
    column("Patient's pseudonym", "00100020"),
    column("Modalities", "00080061"),
    column("Series", "00201206"),
    column("Instances", "00201208"),
  ];
  return [made("h2", {}, "Studies"), table({ name: "studies", columns, ...(await store.search("studies")) })];
}

/** The columns of series, in one study or in all. */
function seriesColumns(store, isFlat) {
  const columns = [
    pictured(store, seriesOf),
    linked("Series", SERIES, seriesOf),
    ...(isFlat ? [linked("Study", STUDY, studyOf), column("Date", "00080020")] : []),
    column("Modality", "00080060"),
    column("Manufacturer", "00080070"),
    column("Model", "00081090"),
    column("Instances", "00201209"),
  ];
  if (store.me.view) columns.push({ title: "Embeddings", cell: (row) => embeddings(store, row) });
  return columns;
}

/** A link to the page of embeddings, which asks for a token itself: addresses never have one. */
function embeddings(store, row) {
  const address = store.seriesAddress(text(row, STUDY), text(row, SERIES));
  const href = `${store.me.view}#series=${encodeURIComponent(address)}`;
  return made("a", { href, rel: "noopener noreferrer", target: "_blank" }, "What the embeddings see");
}

export async function flat(store) {
  const found = await store.search("series");
  return [made("h2", {}, "All series"), table({ name: "series", columns: seriesColumns(store, true), ...found })];
}

export async function series(store, study) {
  const found = await store.search(`studies/${study}/series`);
  for (const row of found.rows) row[STUDY] ??= { vr: "UI", Value: [study] };
  const table_ = table({ name: "series", columns: seriesColumns(store, false), ...found });
  return [path(study), made("h2", {}, "Series of the study"), table_];
}

const LEVELS = [
  linked("Instance", INSTANCE, instanceOf),
  column("Image type", "00080008"),
  {
    title: "Width × height",
    value: (row) => [text(row, "00480006") || text(row, "00280011"), text(row, "00480007") || text(row, "00280010")].join(" × "),
  },
  { title: "Frames", value: (row) => text(row, "00280008") || "1" },
  column("Container", "00400512"),
  column("Transfer syntax", "00083002"),
];

export async function levels(store, study, uid) {
  const found = await store.search(`studies/${study}/series/${uid}/instances`);
  for (const row of found.rows) {
    row[STUDY] ??= { vr: "UI", Value: [study] };
    row[SERIES] ??= { vr: "UI", Value: [uid] };
  }
  const columns = [pictured(store, instanceOf), ...LEVELS];
  return [path(study, uid), made("h2", {}, "Levels of the slide"), table({ name: "levels", columns, ...found })];
}

const ATTRIBUTES = [
  {
    title: "Tag",
    value: ({ tag }) => tag,
    cell: ({ tag, depth }) => made("td", { class: `depth-${Math.min(depth, 4)}` }, tag),
  },
  { title: "Name", value: ({ name }) => name },
  { title: "VR", value: ({ vr }) => vr },
  { title: "Value", value: (row) => row.text },
];

export async function attributes(store, study, uid, instance) {
  const found = await store.json(`store/attributes/${study}/${uid}/${instance}`);
  const facts = made("dl");
  for (const [name, value] of [
    ["Size", bytes(found.size)],
    ["Came in", time(found.added_at)],
    ["By", found.origin],
    ["SHA-256", found.sha256],
  ]) facts.append(made("dt", {}, name), made("dd", {}, value));
  return [
    path(study, uid, instance),
    made("h2", {}, "Attributes of the instance"),
    thumbnail(store, `studies/${study}/series/${uid}/instances/${instance}`, "Small picture of this level"),
    facts,
    table({ name: "attributes", columns: ATTRIBUTES, rows: found.rows, isCut: found.is_cut }),
  ];
}
