// QR codes (ISO/IEC 18004): texts of up to 425 bytes, in byte mode, with error correction of level L, as pictures.

// Of each version: all codewords, those for correction in a block, blocks, and where alignment patterns stand beside 6.
const versions = [
  [26, 7, 1], [44, 10, 1, 18], [70, 15, 1, 22], [100, 20, 1, 26], [134, 26, 1, 30], [172, 18, 2, 34], [196, 20, 2, 22, 38], [242, 24, 2, 24, 42],
  [292, 30, 2, 26, 46], [346, 18, 4, 28, 50], [404, 20, 4, 30, 54], [466, 24, 4, 32, 58], [532, 26, 4, 34, 62],
];

// times multiplies in the field of 256 elements.
function times(a, b) {
  let out = 0;
  for (let i = 7; i >= 0; i--) out = (out << 1) ^ ((out >>> 7) * 0x11d) ^ (((b >>> i) & 1) * a);
  return out;
}

// correction returns the codewords for correction of a block: what is left of it after division by the generator of that degree.
function correction(block, degree) {
  const generator = [...Array(degree - 1).fill(0), 1];
  for (let i = 0, root = 1; i < degree; i++, root = times(root, 2)) {
    for (let j = 0; j < degree; j++) generator[j] = times(generator[j], root) ^ (generator[j + 1] ?? 0);
  }
  const rest = Array(degree).fill(0);
  for (const b of block) {
    const factor = b ^ rest.shift();
    rest.push(0);
    generator.forEach((g, i) => { rest[i] ^= times(g, factor); });
  }
  return rest;
}

// codewords returns what stands in a code: the text in blocks that are interleaved, and their correction likewise.
function codewords(bytes, version) {
  const [all, degree, count] = versions[version - 1], room = all - degree * count;
  const bits = [];
  const add = (value, n) => { for (let i = n - 1; i >= 0; i--) bits.push((value >>> i) & 1); };
  add(4, 4);
  add(bytes.length, version < 10 ? 8 : 16);
  bytes.forEach((b) => add(b, 8));
  add(0, Math.min(4, room * 8 - bits.length));
  while (bits.length % 8) bits.push(0);
  const data = [];
  for (let i = 0; i < bits.length; i += 8) data.push(parseInt(bits.slice(i, i + 8).join(""), 2));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const short = Math.floor(room / count), blocks = [];
  for (let i = 0, at = 0; i < count; i++) {
    const n = short + (i >= count - (room % count) ? 1 : 0);
    blocks.push(data.slice(at, at + n));
    at += n;
  }
  const interleave = (lists) => Array.from({ length: Math.max(...lists.map((l) => l.length)) }, (_, i) => lists.map((l) => l[i]).filter((x) => x !== undefined)).flat();
  return [...interleave(blocks), ...interleave(blocks.map((b) => correction(b, degree)))];
}

// check appends a remainder to a number, by which readers know that they have read it right.
function check(value, bits, polynomial) {
  let rest = value;
  for (let i = 0; i < bits; i++) rest = (rest << 1) ^ ((rest >>> (bits - 1)) * polynomial);
  return (value << bits) | rest;
}

// modules returns the rows of a code, true for what is dark.
export function modules(text) {
  const bytes = [...new TextEncoder().encode(text)];
  const version = 1 + versions.findIndex(([all, degree, count], v) => bytes.length + (v < 9 ? 2 : 3) <= all - degree * count);
  if (!version) throw new Error("too long for a picture");
  const size = 17 + 4 * version, at = [6, ...versions[version - 1].slice(3)];
  const dark = Array.from({ length: size }, () => Array(size)); // undefined: free for the text
  const set = (x, y, on) => { if (x >= 0 && y >= 0 && x < size && y < size) dark[y][x] = Boolean(on); };
  for (let i = 0; i < size; i++) { set(6, i, i % 2 === 0); set(i, 6, i % 2 === 0); }
  const square = (cx, cy, reach, light) => {
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) set(cx + dx, cy + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, [2, 4]);
  if (version > 1) {
    const last = size - 7;
    for (const x of at) for (const y of at) if (!(x === 6 && (y === 6 || y === last)) && !(x === last && y === 6)) square(x, y, 2, [1]);
  }
  const format = check(1 << 3, 10, 0x537) ^ 0x5412; // level L, mask 0
  const bit = (value, i) => (value >>> i) & 1;
  for (let i = 0; i < 15; i++) {
    const on = bit(format, i);
    set(8, i < 6 ? i : i < 8 ? i + 1 : size - 15 + i, on);
    set(i < 8 ? size - 1 - i : i < 9 ? 7 : 14 - i, 8, on);
  }
  set(8, size - 8, true);
  if (version > 6) {
    const word = check(version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const a = size - 11 + (i % 3), b = Math.floor(i / 3);
      set(a, b, bit(word, i));
      set(b, a, bit(word, i));
    }
  }
  const words = codewords(bytes, version);
  let n = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5; // the column of the timing pattern
    for (let step = 0; step < size; step++) {
      for (const x of [right, right - 1]) {
        const up = ((right + 1) & 2) === 0, y = up ? size - 1 - step : step;
        if (dark[y][x] !== undefined) continue;
        const on = n < words.length * 8 && bit(words[n >>> 3], 7 - (n & 7));
        n++;
        dark[y][x] = Boolean(on) !== ((x + y) % 2 === 0);
      }
    }
  }
  return dark;
}

// picture returns a code as SVG.
export function picture(text, label) {
  const rows = modules(text), edge = 4, ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), path = document.createElementNS(ns, "path");
  svg.setAttribute("viewBox", `0 0 ${rows.length + 2 * edge} ${rows.length + 2 * edge}`);
  svg.setAttribute("class", "qr");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("shape-rendering", "crispEdges");
  path.setAttribute("d", rows.flatMap((row, y) => row.map((on, x) => (on ? `M${x + edge} ${y + edge}h1v1h-1z` : ""))).join(""));
  path.setAttribute("fill", "#000");
  svg.append(path);
  return svg;
}
