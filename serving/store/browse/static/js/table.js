// A table that is filtered as you type, and sorted by a click on a column's name.

import { made, say } from "./dom.js";

const SHOWN = 300;

const inOrder = new Intl.Collator("en", { numeric: true }).compare;

/**
 * Makes a table.
 *
 * @param {object} options
 *   name: what the rows are, in plural
 *   columns: {title, value(row), cell(row)}: the text that is sorted and filtered by, and what is shown
 *   rows, isCut: whether there are more rows than these
 */
export function table({ name, columns, rows, isCut = false }) {
  const texts = new Map(rows.map((row) => [row, columns.map(({ value }) => String(value?.(row) ?? ""))]));
  const body = made("tbody");
  const count = made("p", { class: "hint", role: "status" });
  const filter = made("input", { type: "search", id: `filter-${name}`, autocomplete: "off", spellcheck: "false" });
  const more = made("button", { type: "button" }, "Show more");
  let sorted = { column: -1, down: false };
  let shown = SHOWN;

  function found() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => {
      const all = texts.get(row).join("\n").toLowerCase();
      return words.every((word) => all.includes(word));
    };
    const left = words.length ? rows.filter(fits) : [...rows];
    const { column, down } = sorted;
    if (column >= 0) left.sort((a, b) => inOrder(texts.get(a)[column], texts.get(b)[column]) * (down ? -1 : 1));
    return left;
  }

  function paint() {
    const left = found();
    body.replaceChildren(
      ...left.slice(0, shown).map((row) =>
        made("tr", {}, ...columns.map(({ value, cell }) => cellOf(cell ? cell(row) : String(value(row))))),
      ),
    );
    more.hidden = left.length <= shown;
    const all = `${left.length} of ${rows.length} ${name}`;
    count.textContent = isCut ? `${all}; there are more, which DICOMweb finds` : all;
  }

  const heads = columns.map(({ title, value }, column) => {
    if (!value) return made("th", { scope: "col" }, title);
    const sorter = made("button", { type: "button" }, title);
    const head = made("th", { scope: "col", "aria-sort": "none" }, sorter);
    sorter.addEventListener("click", () => {
      sorted = { column, down: sorted.column === column && !sorted.down };
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      paint();
      say(`Sorted by ${title}, ${sorted.down ? "descending" : "ascending"}`);
    });
    return head;
  });
  filter.addEventListener("input", () => {
    shown = SHOWN;
    paint();
  });
  more.addEventListener("click", () => {
    shown += SHOWN;
    paint();
  });
  paint();
  const label = made("label", { for: filter.id }, `Filter ${name}`);
  const whole = made("table", {}, made("thead", {}, made("tr", {}, ...heads)), body);
  const scroll = made("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": name }, whole);
  return made("div", {}, label, filter, count, scroll, more);
}

function cellOf(content) {
  const cell = content instanceof HTMLTableCellElement;
  return cell ? content : made("td", {}, content);
}
