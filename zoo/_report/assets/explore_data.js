"use strict";
// What the page holds, and how values become text and colours.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const count = data.count;

// Arrays come as base64, little-endian.
function numbers(text, kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new kind(bytes.buffer);
}
const INTEGERS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
const views = data.views.map((v) => ({
  ...v, x: numbers(v.x, Float32Array), y: numbers(v.y, Float32Array),
}));
const columns = data.columns.map((c) => {
  if (c.kind === "category") return { ...c, codes: numbers(c.codes, INTEGERS[c.bytes]) };
  if (c.kind === "number") return { ...c, values: numbers(c.values, Float64Array) };
  return c;
});
const neighbours = data.neighbours && {
  ...data.neighbours, items: numbers(data.neighbours.items, Int32Array),
};
const pictures = data.pictures && { ...data.pictures, place: numbers(data.pictures.place, Int32Array) };

// Of a category the last code means that it is missing.
function value(column, i) {
  if (column.kind === "category") return column.names[column.codes[i]] ?? "";
  const found = column.values[i];
  return found === null || Number.isNaN(found) ? "" : String(found);
}

function brief(column, i) {
  const found = value(column, i);
  return column.kind === "number" && found !== "" ? String(+Number(found).toPrecision(5)) : found;
}

function csv(items) {
  const quote = (s) => (/[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s);
  const lines = [["row", ...columns.map((c) => quote(c.name))].join(",")];
  for (const i of items) lines.push([i, ...columns.map((c) => quote(value(c, i)))].join(","));
  return lines.join("\n") + "\n";
}

function shuffled(n) {
  const found = new Uint32Array(n);
  for (let i = 0; i < n; i++) found[i] = i;
  let state = 1;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}

const packed = (hex) => {
  const v = parseInt(hex.slice(1), 16);
  return (0xff000000 | ((v & 255) << 16) | (v & 0xff00) | (v >> 16)) >>> 0;
};

function lighter(c) {
  const part = (k) => 255 - ((255 - ((c >>> k) & 255)) >> 2);
  return (0xff000000 | (part(16) << 16) | (part(8) << 8) | part(0)) >>> 0;
}

function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (data.viridis.length - 1);
  const low = Math.min(Math.floor(at), data.viridis.length - 2), part = at - low;
  const [a, b] = [low, low + 1].map((k) => parseInt(data.viridis[k].slice(1), 16));
  const mix = (k) => Math.round(((a >> k) & 255) + part * (((b >> k) & 255) - ((a >> k) & 255)));
  return "#" + [16, 8, 0].map((k) => mix(k).toString(16).padStart(2, "0")).join("");
}
