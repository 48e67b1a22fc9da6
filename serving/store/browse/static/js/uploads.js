// Storing from the page: STOW-RS, one request a file, read from the disk as it is sent.

import { attempt, bytes, made, say } from "./dom.js";

/** Reasons for failures (PS3.18, I.2), in words. */
const REASONS = {
  272: "it could not be processed",
  273: "another instance of this UID is here",
  290: "instances of this class are not taken",
  292: "this is not allowed here",
  42752: "the disk of the store is full",
  43264: "it is not what it says it is",
  49152: "it cannot be read, or may not be taken in",
  49442: "its transfer syntax is not taken",
};

export function uploads(store) {
  const files = made("input", { type: "file", id: "files", multiple: true });
  const log = made("ul", { "aria-label": "What became of the files" });
  const send = made("button", {}, "Store");
  const form = made("form", {}, made("label", { for: "files" }, "DICOM files"), made("div", { class: "row" }, files, send));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    for (const file of files.files) {
      say(`Storing ${file.name} …`);
      const said = await attempt(() => sent(store, file));
      log.prepend(made("li", {}, `${file.name} (${bytes(file.size)}): ${said ?? "not stored"}`));
    }
    say("");
    send.disabled = false;
  });
  const hint = made("p", { class: "hint" }, "They are de-identified before anybody sees them, and get new UIDs. " +
    "Images of labels, and images that do not say that nothing is burned in, are refused.");
  return [made("h2", {}, "Upload"), form, hint, log];
}

async function sent(store, file) {
  const boundary = `store-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  const body = new Blob([`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, file, `\r\n--${boundary}--\r\n`]);
  const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
  const accept = "application/dicom+json";
  try {
    return said(await store.json("dicomweb/studies", { method: "POST", body, type, accept }));
  } catch (error) {
    if (error.answer?.["00081198"]) return said(error.answer);
    throw error;
  }
}

function said(answer) {
  const failed = answer["00081198"]?.Value ?? [];
  if (!failed.length) return "stored";
  const reason = failed[0]["00081197"]?.Value?.[0];
  return `refused: ${REASONS[reason] ?? "see the import log"}`;
}
