// Curves over time as SVG. A gap in time is a gap in the curve.

const HEIGHT = 150, LEFT = 52, RIGHT = 6, TOP = 8, BOTTOM = 18;
const GAP_S = 15;
const SPANS_S = [60, 300];
const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// The least of 1, 2, 5 times a power of ten, within a power of `unit`, that is not below `value`.
export function roundUp(value, unit = 10) {
  if (!(value > 0)) return 1;
  const scale = unit ** Math.floor(Math.log(value) / Math.log(unit) + 1e-9);
  const power = scale * 10 ** Math.floor(Math.log10(value / scale) + 1e-9);
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export class Plot {
  // curves: [{field, label}], at most three; format: number → text; unit: 1024 where the numbers are bytes
  constructor(figure, curves, format, unit = 10) {
    this.unit = unit;
    this.curves = curves.map((curve, at) => ({ ...curve, name: ["first", "second", "third"][at] }));
    this.format = format;
    this.svg = element("svg", { role: "img" });
    this.svg.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    const legend = document.createElement("div");
    legend.className = "legend";
    for (const curve of this.curves) {
      const entry = document.createElement("span");
      const line = document.createElement("i");
      line.className = curve.name;
      entry.append(line, curve.label);
      legend.append(entry);
    }
    figure.append(this.svg, legend);
  }

  draw(samples) {
    const width = this.svg.clientWidth;
    const end = samples.length ? samples[samples.length - 1].at : 0;
    const span = SPANS_S.find((s) => samples.length && end - samples[0].at < s) ?? SPANS_S.at(-1);
    const shown = samples.filter((sample) => sample.at > end - span);
    const top = roundUp(Math.max(0, ...shown.flatMap((s) => this.curves.map((c) => s[c.field] ?? 0))), this.unit);
    const x = (at) => width - RIGHT - ((end - at) / span) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = y(top * share);
      parts.push(element("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      parts.push(element("text", { x: LEFT - 5, y: at + 4, "text-anchor": "end" }, this.format(top * share)));
    }
    for (const ago of [(span * 2) / 3, span / 3, 0]) {
      const text = ago ? `${ago} s ago` : "now";
      const where = { x: x(end - ago), y: HEIGHT - 4, "text-anchor": ago ? "middle" : "end" };
      parts.push(element("text", where, text));
    }
    for (const curve of this.curves) {
      let path = "", before = -Infinity;
      for (const sample of shown) {
        if (sample[curve.field] === undefined) continue;
        path += `${sample.at - before > GAP_S ? "M" : "L"}${x(sample.at).toFixed(1)} ${y(sample[curve.field]).toFixed(1)}`;
        before = sample.at;
      }
      if (path) parts.push(element("path", { class: curve.name, d: path, "data-field": curve.field }));
    }
    this.svg.replaceChildren(...parts);
  }
}
