// Amounts for people.

const units = [["PiB", 2 ** 50], ["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });

// count prints a whole number.
export const count = (n) => whole.format(n);

// bytes prints bytes with a binary unit, three digits or so.
function bytes(n) {
  for (const [unit, size] of units) {
    if (Math.abs(n) >= size) {
      const v = n / size;
      return (v >= 100 ? whole : number).format(v) + " " + unit;
    }
  }
  return whole.format(n) + " B";
}

// amount prints an amount of a class in its unit.
export function amount(cls, n) {
  if (cls === "cpu") return number.format(n / 1000) + (n === 1000 ? " core" : " cores");
  if (cls === "memory" || cls.startsWith("storage.")) return bytes(n);
  if (cls === "cost") return `${money.format(n / 1e6)} an hour`;
  return whole.format(n);
}

// split divides an amount as it is printed into its number and its unit.
export function split(cls, n) {
  const s = amount(cls, n), at = s.indexOf(" ");
  return at < 0 ? [s, ""] : [s.slice(0, at), s.slice(at + 1)];
}

// pair prints used and capacity, with the unit once where it is the same.
export function pair(cls, used, capacity) {
  const [n, unit] = split(cls, used), [m, whole] = split(cls, capacity);
  if (cls === "cpu") return `${n} / ${m}`;
  return unit === whole || used === 0 ? `${n} / ${m} ${whole}` : `${n} ${unit} / ${m} ${whole}`;
}

// className names a class for people.
export function className(cls) {
  const known = { cpu: "CPU", memory: "Memory", gpu: "GPUs", instances: "Instances", cost: "Cost", "storage.standard": "Standard storage", "storage.ssd": "SSD storage", "storage.nvme": "NVMe storage" };
  return known[cls] ?? cls;
}

// share is used of capacity in percent, for people: one decimal while it is small.
export function share(used, capacity) {
  if (capacity <= 0) return used > 0 ? 100 : 0;
  return (100 * used) / capacity;
}

export function percent(p) {
  if (p > 0 && p < 0.95) return p.toFixed(1) + " %";
  return Math.round(p) + " %";
}

// level says how full something is; the word goes beside every colour.
export function level(p) {
  if (p <= 0) return "idle";
  if (p >= 90) return "full";
  if (p >= 75) return "high";
  return "ok";
}

export const levelWord = { idle: "", ok: "", high: " high", full: " full" };

// clock prints a time of day.
export const clock = (iso) => new Date(iso).toLocaleTimeString("en-GB");

// ago prints how long ago something was.
export function ago(iso) {
  const s = Math.max(0, (Date.now() - new Date(iso)) / 1000);
  if (s < 60) return Math.floor(s) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " d";
}

// compare compares names the way people do: vm-2 before vm-10.
export const compare = new Intl.Collator("en", { numeric: true }).compare;
