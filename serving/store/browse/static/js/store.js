// Requests to the store. The token is in memory here, and nowhere else.

/** What the store says is wrong: a code, and a sentence that says what to do. */
export class Fault extends Error {
  constructor(code, description, status = 0, answer = null) {
    super(description);
    Object.assign(this, { code, status, answer });
  }
}

const PAGE_ROWS = 1000;

/** Rows of a list that the page reads; who has more, searches by DICOMweb. */
export const MOST_ROWS = 20000;

export class Store {
  #token = "";
  me = null;

  /** Takes a token, when it is one of this store. */
  async enter(token) {
    this.#token = token.trim();
    this.me = null;
    this.me = await this.json("store/me");
  }

  leave() {
    this.#token = "";
    this.me = null;
  }

  may(role) {
    return this.me !== null && this.me.roles.includes(role);
  }

  /**
   * Asks for something.
   *
   * @returns {Promise<Response>}
   * @throws {Fault}
   */
  async ask(path, { method = "GET", body, type, accept } = {}) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (type) headers["Content-Type"] = type;
    if (accept) headers.Accept = accept;
    let response;
    try {
      const fixed = { cache: "no-store", credentials: "omit", redirect: "error" };
      response = await fetch(path, { method, headers, body, ...fixed });
    } catch {
      throw new Fault("UNREACHABLE", "The store cannot be reached. Is it running? Then try again.");
    }
    if (!response.ok) throw await faultOf(response);
    return response;
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async post(path, value) {
    return this.json(path, { method: "POST", body: JSON.stringify(value), type: "application/json" });
  }

  /** Returns all rows of a search, page by page; `isCut` when there are more than the page reads. */
  async search(path) {
    const rows = [];
    let isCut = false;
    for (;;) {
      const response = await this.ask(`dicomweb/${path}?limit=${PAGE_ROWS}&offset=${rows.length}`);
      const page = response.status === 204 ? [] : await response.json();
      rows.push(...page);
      if (page.length < PAGE_ROWS) break;
      isCut = rows.length >= MOST_ROWS;
      if (isCut) break;
    }
    return { rows, isCut };
  }

  async picture(path) {
    const response = await this.ask(path, { accept: "image/jpeg" });
    return createImageBitmap(await response.blob());
  }

  /** The address of a series, as the embedding service is told. */
  seriesAddress(study, series) {
    const base = this.me.dicomweb || new URL("dicomweb", location.href).href;
    return `${base}/studies/${study}/series/${series}`;
  }
}

async function faultOf(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // a proxy's page, perhaps
  }
  const { code = `HTTP ${response.status}`, description = "The store answered with an error." } = answer?.error ?? {};
  return new Fault(code, description, response.status, answer);
}

/** The values of an attribute in DICOM JSON, as text. */
export function text(row, tag) {
  const values = row[tag]?.Value ?? [];
  return values.map((value) => value?.Alphabetic ?? value ?? "").join(" \\ ");
}
