// A table of records that changes: one row per record, made once and then updated; sorted and filtered here.
import { arrange, byID, data, text } from "./dom.js";
import { compare } from "./format.js";

const most = 500; // rows shown at once; filters find the others

export class Table {
  #rows = new Map(); // by id: {el, set, sort keys}
  #make; #name; #by; #down = false; #keep = () => true; #body;

  // name is the prefix of the ids of the table's parts; make makes a row: {el, set(record) -> sort keys}.
  constructor(name, by, make) {
    this.#name = name;
    this.#make = make;
    this.#by = by;
    this.#body = byID(name + "-rows");
    for (const th of document.querySelectorAll(`#${name} th[data-sort]`)) {
      th.querySelector("button").addEventListener("click", () => this.sort(th.dataset.sort));
    }
    this.#mark();
  }

  // sort sorts by a column, numbers the largest first; the second time the other way round.
  sort(by) {
    const numeric = typeof this.#rows.values().next().value?.keys[by] === "number";
    this.#down = by === this.#by ? !this.#down : numeric;
    this.#by = by;
    this.#mark();
    this.order();
  }

  #mark() {
    for (const th of document.querySelectorAll(`#${this.#name} th[data-sort]`)) {
      if (th.dataset.sort === this.#by) th.setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
  }

  // filter shows only records that keep accepts.
  filter(keep) {
    this.#keep = keep;
    this.order();
  }

  // update brings the rows of the changed records up to date and drops those of records that are gone.
  update(records, changed) {
    for (const id of this.#rows.keys()) if (!records.has(id)) this.#rows.delete(id);
    for (const [id, record] of records) {
      let row = this.#rows.get(id);
      if (row && !changed.has(id)) continue;
      if (!row) this.#rows.set(id, (row = this.#make(id)));
      row.record = record;
      row.keys = row.set(record);
    }
    this.order();
  }

  order() {
    const by = this.#by, sign = this.#down ? -1 : 1;
    const shown = [...this.#rows.values()].filter((r) => this.#keep(r.record));
    shown.sort((x, y) => {
      const a = x.keys[by], b = y.keys[by];
      return sign * (typeof a === "number" ? a - b : compare(a, b)) || compare(x.keys.name, y.keys.name);
    });
    arrange(this.#body, shown.slice(0, most).map((r) => r.el));
    const empty = byID(this.#name + "-empty");
    empty.hidden = shown.length > 0 && shown.length <= most;
    text(empty, shown.length ? `The first ${most} of ${shown.length} are shown; filter to see others.` : "Nothing matches.");
    const n = this.#rows.size;
    text(byID(this.#name + "-count"), shown.length === n ? String(n) : `${shown.length} of ${n}`);
    data(byID(this.#name), "shown", shown.length);
  }
}
