// The form that opens a series: by its address, by a link, or from the list of the service's own store.

import { count, element, forgiven, made, say, warn } from "./dom.js";

export class SeriesForm {
  #service;
  #store = "";

  /**
   * @param {Service} service
   * @param {function} open called with the address and the token
   */
  constructor(service, open) {
    this.#service = service;
    element("open-series").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keepTokenFor(element("series").value);
      open(element("series").value, element("token").value.trim());
    });
    element("series").addEventListener("change", ({ target }) => this.#keepTokenFor(target.value));
    element("list-store").addEventListener("click", () => this.#list());
    element("stored").addEventListener("change", ({ target }) => this.name(target.value));
  }

  /** Puts an address in. */
  name(series) {
    element("series").value = series;
    this.#keepTokenFor(series);
  }

  /** Puts in the address that a link has named, and asks for the token: a link never has one. */
  nameByLink(series) {
    this.name(series);
    const store = storeOf(series);
    element("token").focus();
    say(`A link names a series of ${store || "a store"}. If you know that store, enter your token for it, and press Open.`);
  }

  /** A token is for one store: it is never sent to another whose address is entered later. */
  #keepTokenFor(series) {
    const store = storeOf(series);
    if (this.#store && store !== this.#store) element("token").value = "";
    this.#store = store;
  }

  async #list() {
    forgiven();
    say("Asking the store …");
    try {
      const found = await this.#service.json("view/series", { token: element("token").value.trim() });
      const { series, remaining } = found;
      element("stored").replaceChildren(...series.map((one) => made("option", { value: one.series }, one.name)));
      element("of-store").hidden = false;
      element("not-listed").hidden = !remaining;
      element("not-listed").textContent = `${count(remaining)} more are not listed: enter their addresses.`;
      if (series.length) this.name(series[0].series);
      say(series.length ? "Choose a slide of the list, and press Open." : "The store has no slide that this token opens.");
    } catch (error) {
      say("");
      warn(error);
    }
  }
}

function storeOf(series) {
  try {
    return new URL(series.trim()).origin;
  } catch {
    return "";
  }
}
