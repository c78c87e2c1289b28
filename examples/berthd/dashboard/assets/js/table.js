// A table of records that changes, sorted and filtered here. A row is made when it is first shown, and then updated: of a
// fleet of many thousands most never are.
import { arrange, byID, data, text } from "./dom.js";
import { compare } from "./format.js";

const most = 500; // rows shown at once; filters find the others

export class Table {
  #entries = new Map(); // by id: {record, keys to sort by, row}
  #sorted = []; // entries in order; it stays nearly so from one update to the next
  #make; #keysOf; #name; #by; #down = false; #keep = () => true; #body; #told = false;

  // name is the prefix of the ids of the table's parts; keysOf gives a record's keys to sort by; make makes a row: {el, set(record)}.
  constructor(name, by, keysOf, make) {
    this.#name = name;
    this.#make = make;
    this.#keysOf = keysOf;
    this.#by = by;
    this.#body = byID(name + "-rows");
    for (const th of document.querySelectorAll(`#${name} th[data-sort]`)) {
      th.querySelector("button").addEventListener("click", () => this.sort(th.dataset.sort));
    }
    this.#mark();
  }

  // sort sorts by a column, numbers the largest first; the second time the other way round.
  sort(by) {
    const numeric = typeof this.#sorted[0]?.keys[by] === "number";
    this.#down = by === this.#by ? !this.#down : numeric;
    this.#by = by;
    this.#mark();
    this.#order();
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
    this.#show();
  }

  // update notes what has changed: new records, those of the given ids, and those that are gone.
  update(records, changed) {
    for (const id of changed) {
      const record = records.get(id);
      if (!record) continue;
      let entry = this.#entries.get(id);
      if (!entry) {
        this.#entries.set(id, (entry = {}));
        this.#sorted.push(entry);
      }
      Object.assign(entry, { id, record, keys: this.#keysOf(record) });
      entry.row?.set(record);
    }
    if (this.#entries.size !== records.size) {
      for (const id of this.#entries.keys()) if (!records.has(id)) this.#entries.delete(id);
      this.#sorted = this.#sorted.filter((e) => this.#entries.get(e.id) === e);
    } else if (!changed.size && this.#told) {
      return;
    }
    this.#order();
  }

  #order() {
    const by = this.#by, sign = this.#down ? -1 : 1;
    this.#sorted.sort(({ keys: x }, { keys: y }) => {
      const a = x[by], b = y[by];
      return sign * (typeof a === "number" ? a - b : compare(a, b)) || compare(x.name, y.name);
    });
    this.#show();
  }

  #row(entry) {
    if (!entry.row) {
      entry.row = this.#make(entry.id);
      entry.row.set(entry.record);
    }
    return entry.row.el;
  }

  #show() {
    this.#told = true;
    const shown = this.#sorted.filter((e) => this.#keep(e.record));
    arrange(this.#body, shown.slice(0, most).map((e) => this.#row(e)));
    const n = this.#sorted.length, empty = byID(this.#name + "-empty");
    empty.hidden = shown.length > 0 && shown.length <= most;
    text(empty, shown.length ? `The first ${most} of ${shown.length} are shown; filter to see others.` : n ? "Nothing matches." : "None yet.");
    text(byID(this.#name + "-count"), shown.length === n ? String(n) : `${shown.length} of ${n}`);
    data(byID(this.#name), "shown", shown.length);
  }
}
