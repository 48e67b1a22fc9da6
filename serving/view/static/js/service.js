// Requests to the service. The key and the tokens of stores are in memory here, and nowhere else.

/** What a service says is wrong: a code, and a sentence that says what to do. */
export class Fault extends Error {
  constructor(code, description, status = 0, retryAfter = 0) {
    super(description);
    Object.assign(this, { code, status, retryAfter });
  }
}

const UNREACHABLE = "The service cannot be reached. Is it running? Then try again.";

export class Service {
  #key = "";

  /** Sets the service's own key, for the requests to come. */
  setKey(key) {
    this.#key = key.trim();
  }

  /**
   * Asks for something.
   *
   * @param {string} path
   * @param {object} options method, body (bytes, or anything else as JSON), token of a store, signal
   * @returns {Promise<Response>}
   * @throws {Fault}
   */
  async ask(path, { method = "GET", body, token, signal } = {}) {
    const headers = {};
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    if (token) headers["X-Store-Token"] = token;
    const isBytes = body instanceof Blob || body instanceof ArrayBuffer;
    if (body !== undefined && !isBytes) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method,
        headers,
        signal,
        body: body === undefined || isBytes ? body : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Fault("UNREACHABLE", UNREACHABLE);
    }
    if (!response.ok) throw await faultOf(response);
    return response;
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async post(path, body, options = {}) {
    return this.json(path, { ...options, method: "POST", body });
  }

  /** Returns a picture, without any change of its colours. */
  async picture(path, options) {
    const blob = await (await this.ask(path, options)).blob();
    return createImageBitmap(blob, { colorSpaceConversion: "none" });
  }
}

async function faultOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  try {
    const { error } = await response.json();
    if (error.code === "API_KEY_ERROR") {
      const text = "This service wants one of its keys. Enter it under “Open”, and try again.";
      return new Fault(error.code, text, response.status);
    }
    return new Fault(error.code, error.description, response.status, retryAfter);
  } catch {
    return new Fault(`HTTP ${response.status}`, "The service answered with an error.", response.status, retryAfter);
  }
}
