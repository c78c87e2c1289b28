// What the page knows of the fleet: loaded once, and then brought up to date with what has changed since.
import { all, get } from "./api.js";

const few = 200; // of what is shown beside the hosts and instances

export class Store {
  pool = null;
  hosts = new Map();
  instances = new Map();
  unknown = { items: [], total: 0 }; // the first of them
  projects = { items: [], total: 0 }; // likewise
  clusters = { items: [], total: 0 }; // likewise; their counts change with their members
  #since = { hosts: 0, instances: 0 };
  #gone = new Map(); // what has been removed, with the revision: an answer that is older must not bring it back
  #views = [];

  // watch has a view told of changes: which hosts and instances, by id.
  watch(view) {
    this.#views.push(view);
  }

  #tell(hosts, instances) {
    requestAnimationFrame(() => this.#views.forEach((v) => v(this, hosts, instances)));
  }

  // load reads everything.
  async load() {
    this.hosts.clear();
    this.instances.clear();
    this.#since = { hosts: 0, instances: 0 };
    await this.update();
    await this.look();
  }

  // update reads what has changed since the last time.
  async update() {
    const changed = { hosts: new Set(), instances: new Set() };
    const read = async (kind) => {
      const since = this.#since[kind];
      const known = this[kind];
      this.#since[kind] = await all(`/${kind}${since ? "?changed_after=" + since : ""}`, (r) => {
        if ((this.#gone.get(r.id) ?? -1) >= r.revision || (known.get(r.id)?.revision ?? -1) > r.revision) return;
        known.set(r.id, r);
        changed[kind].add(r.id);
      });
    };
    const [pool, projects, clusters] = await Promise.all([get("/pool"), get("/projects?limit=" + few), get("/clusters?limit=" + few), read("hosts"), read("instances")]);
    this.pool = pool;
    this.projects = projects;
    this.clusters = clusters;
    this.#tell(changed.hosts, changed.instances);
  }

  // look asks for what no event tells of.
  async look() {
    this.unknown = await get("/unknown-machines?limit=" + few);
    this.#tell(new Set(), new Set());
  }

  // remove notes that the ledger says something is gone.
  remove(kind, id, revision) {
    this.#gone.set(id, revision);
    if (this.#gone.size > 5000) this.#gone.delete(this.#gone.keys().next().value);
    const had = this[kind].get(id);
    if (had && had.revision <= revision) this[kind].delete(id);
  }
}
