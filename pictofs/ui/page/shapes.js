// What is drawn on a picture, as SVG in the picture's own pixels.

import { element } from "/plot.js";

export function color(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 65521;
  return `hsl(${Math.round((hash * 137.508) % 360)} 85% 52%)`;
}

const ring = (points) => "M" + points.map(([x, y]) => `${x} ${y}`).join("L");

function corners([cx, cy, w, h, angle]) {
  const turn = (angle * Math.PI) / 180, cos = Math.cos(turn), sin = Math.sin(turn);
  return [[-w, -h], [w, -h], [w, h], [-w, h]].map(([x, y]) => [cx + (x * cos - y * sin) / 2, cy + (x * sin + y * cos) / 2]);
}

function drawing(shape, pixel) {
  if (shape.rings.length) return element("path", { d: shape.rings.map(ring).join("Z") + "Z" });
  if (shape.line.length) return element("path", { d: ring(shape.line), class: "open" });
  if (shape.oriented) return element("path", { d: ring(corners(shape.oriented)) + "Z" });
  if (shape.point) return element("circle", { cx: shape.point[0], cy: shape.point[1], r: 3 * pixel });
  if (shape.box) {
    const [x, y, width, height] = shape.box;
    return element("rect", { x, y, width, height });
  }
  return null;
}

// An overlay for a picture of `width` by `height` pixels that is shown `pixel` times smaller.
export function overlay(shapes, width, height, pixel) {
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, class: "shapes" });
  for (const shape of shapes) {
    const drawn = drawing(shape, pixel);
    if (!drawn) continue;
    drawn.classList.add("shape");
    drawn.style.stroke = color(shape.name);
    if (!drawn.classList.contains("open")) drawn.style.fill = color(shape.name);
    drawn.append(element("title", {}, shape.name));
    svg.append(drawn);
  }
  return svg;
}
