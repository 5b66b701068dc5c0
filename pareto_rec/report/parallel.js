// Parallel coordinates: one line per point of the front; drag along an axis to filter.
"use strict";

const PLOT = { height: 350, top: 44, bottom: 34, side: 70, step: 118 };
const KEY_STEP = 0.05; // of an axis, per stroke of an arrow key

function svg(tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

/** Whether the values are spread over magnitudes, as a learning rate is. */
function spansMagnitudes(values, low, high) {
  const middle = [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return low > 0 && high / low > 50 && middle < 0.2 * high;
}

/** Where the values of a column lie: up is better for objectives. */
function scaleOf(name, x) {
  const column = columnNamed.get(name);
  const values = front.map((row) => numberOf(row, name)).filter((value) => value !== null);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) { low = 0; high = 1; }
  if (low === high) { low -= 0.5; high += 0.5; }
  const inactive = values.length < front.length;
  const top = PLOT.top, bottom = PLOT.height - PLOT.bottom - (inactive ? 26 : 0);
  const flipped = column.objective && !column.objective.maximise;
  const logarithmic = !column.words && spansMagnitudes(values, low, high);
  const bend = logarithmic ? Math.log : (value) => value;
  const unbend = logarithmic ? Math.exp : (value) => value;
  const share = (value) => (bend(value) - bend(low)) / (bend(high) - bend(low));
  return {
    name, x, column, low, high, top, bottom, flipped,
    y(value) {
      if (value === null) return PLOT.height - PLOT.bottom;
      const part = flipped ? 1 - share(value) : share(value);
      return bottom - part * (bottom - top);
    },
    value(y) { return this.at((bottom - y) / (bottom - top)); },
    /** Value at a share of the way from the foot of the axis to its head, and back. */
    at(part) {
      const inside = Math.min(1, Math.max(0, part));
      return unbend(bend(low) + (flipped ? 1 - inside : inside) * (bend(high) - bend(low)));
    },
    part(value) {
      const inside = share(Math.min(high, Math.max(low, value)));
      return flipped ? 1 - inside : inside;
    },
  };
}

function ticksOf(scale) {
  const { words } = scale.column;
  if (words) return words.map((word, place) => [place, word]);
  const middle = scale.value((scale.top + scale.bottom) / 2);
  return [scale.low, middle, scale.high].map((value) => [value, show(value)]);
}

function brush(scale, grip, box) {
  let start = null;
  const position = (event) => {
    const frame = box.getBoundingClientRect();
    return ((event.clientY - frame.top) / frame.height) * PLOT.height;
  };
  const mark = svg("rect", { class: "brush", x: scale.x - 7, width: 14, height: 0 });
  const place = (a, b) => {
    mark.setAttribute("y", Math.min(a, b));
    mark.setAttribute("height", Math.abs(a - b));
  };
  const bound = state.bounds[scale.name];
  if (bound) {
    const inside = bound.map((value) => scale.y(Math.min(scale.high, Math.max(scale.low, value))));
    place(inside[0], inside[1]);
  }
  grip.addEventListener("pointerdown", (event) => { start = position(event); grip.setPointerCapture(event.pointerId); });
  grip.addEventListener("pointermove", (event) => { if (start !== null) place(start, position(event)); });
  grip.addEventListener("pointerup", (event) => {
    const end = position(event), first = start;
    start = null;
    if (Math.abs(end - first) < 4) { setBound(scale.name, null); return; }
    setBound(scale.name, [scale.value(first), scale.value(end)].sort((a, b) => a - b));
  });
  return mark;
}

/** What an axis keeps, as shares of its length: the lower and the upper end. */
function endsOf(scale) {
  const bound = state.bounds[scale.name];
  return bound ? bound.map((value) => scale.part(value)).sort((a, b) => a - b) : [0, 1];
}

/** Arrow keys move the end of the filter at the worse side, with Shift the one at the better side. */
function brushByKey(event, scale) {
  const step = { ArrowUp: KEY_STEP, ArrowDown: -KEY_STEP }[event.key];
  if (event.key === "Escape") setBound(scale.name, null);
  else if (step) {
    event.preventDefault();
    const ends = endsOf(scale);
    const moved = event.shiftKey ? 1 : 0;
    ends[moved] = Math.min(1, Math.max(0, ends[moved] + step));
    if (ends[0] > ends[1]) ends[1 - moved] = ends[moved];
    const whole = ends[0] < KEY_STEP / 2 && ends[1] > 1 - KEY_STEP / 2;
    setBound(scale.name, whole ? null : ends.map((part) => scale.at(part)).sort((a, b) => a - b));
  } else return;
  say(`${titleOf(scale.name)}: ${keptRows().length} of ${front.length} points pass`);
  byId("parallel").querySelector(`.grip[data-axis="${CSS.escape(scale.name)}"]`).focus();
}

/** A filter for those who use keys: how it is called and what it says. */
function gripOf(scale) {
  const ends = endsOf(scale).map((part) => show(scale.at(part)));
  const grip = svg("rect", {
    class: "grip", x: scale.x - 12, y: scale.top - 6, width: 24, height: scale.bottom - scale.top + 12,
    "data-axis": scale.name, tabindex: "0", role: "slider", "aria-orientation": "vertical",
    "aria-label": `Filter on ${titleOf(scale.name)}`, "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": Math.round(100 * endsOf(scale)[0]), "aria-valuetext": `from ${ends[0]} to ${ends[1]}`,
  });
  grip.addEventListener("keydown", (event) => brushByKey(event, scale));
  return grip;
}

/** Name of an axis, its stage left out; a long one in two lines. */
function nameOf(scale) {
  const short = titleOf(scale.name).replace(/^(train|serve)\./, "");
  const words = short.split(/(?<=[. ])|(?=_)/);
  const lines = [""];
  for (const word of words) {
    if (lines.length === 1 && (lines[0] + word).length > 15 && lines[0]) lines.push("");
    lines[lines.length - 1] += word;
  }
  const name = svg("text", { class: "name", "text-anchor": "middle" });
  name.append(svg("title", {}, scale.name));
  lines.forEach((line, place) => {
    const y = lines.length > 1 ? 12 + 14 * place : 26;
    name.append(svg("tspan", { x: scale.x, y }, line));
  });
  return name;
}

function drawAxis(scale, box) {
  const group = svg("g", { class: `axis${scale.column.objective ? " objective" : ""}` });
  group.append(svg("line", { x1: scale.x, x2: scale.x, y1: scale.top, y2: scale.bottom }));
  group.append(nameOf(scale));
  for (const [value, text] of ticksOf(scale)) {
    group.append(svg("text", { class: "tick", x: scale.x + 6, y: scale.y(value) + 4 }, text));
  }
  if (scale.bottom < PLOT.height - PLOT.bottom) {
    group.append(svg("text", { class: "tick", x: scale.x + 6, y: PLOT.height - PLOT.bottom + 4 }, "not used"));
  }
  const grip = gripOf(scale);
  group.append(brush(scale, grip, box), grip);
  return group;
}

function drawLine(row, scales) {
  const points = scales.map((scale) => `${scale.x.toFixed(1)},${scale.y(numberOf(row, scale.name)).toFixed(1)}`);
  const classes = [];
  if (row.selected) classes.push("shown");
  if (!passes(row)) classes.push("out");
  if (row.index === state.current) classes.push("current");
  const line = svg("path", { d: `M${points.join("L")}`, class: classes.join(" ") });
  line.append(svg("title", {}, row.id));
  line.addEventListener("click", () => choose(row.index));
  return line;
}

function drawParallel() {
  const host = byId("parallel");
  const names = state.parallel;
  const width = Math.max(host.clientWidth, 2 * PLOT.side + PLOT.step * (names.length - 1));
  const step = (width - 2 * PLOT.side) / Math.max(1, names.length - 1);
  const scales = names.map((name, place) => scaleOf(name, PLOT.side + place * step));
  const box = svg("svg", {
    viewBox: `0 0 ${width} ${PLOT.height}`, width, height: PLOT.height, role: "group",
    "aria-label": "Parallel coordinates of the front; the table below holds the same values",
  });
  const rank = (row) => (row.index === state.current ? 3 : 0) + (passes(row) ? 1 : 0) + (row.selected ? 0.5 : 0);
  const rows = [...front].sort((a, b) => rank(a) - rank(b));
  box.append(...rows.map((row) => drawLine(row, scales)), ...scales.map((scale) => drawAxis(scale, box)));
  host.replaceChildren(box);
}

function startParallel() {
  byId("parallel-axes").append(...columns.filter((column) => column.varies).map((column) => {
    const box = element("input", { type: "checkbox" });
    box.checked = state.parallel.includes(column.name);
    box.addEventListener("change", () => {
      const wanted = new Set(state.parallel);
      if (box.checked) wanted.add(column.name); else wanted.delete(column.name);
      update({ parallel: columns.map((other) => other.name).filter((name) => wanted.has(name)) });
    });
    return element("label", {}, box, ` ${titleOf(column.name)}`);
  }));
  onChange(["parallel", "current", "find", "onlySelected", "bounds"], drawParallel);
  new ResizeObserver(drawParallel).observe(byId("parallel"));
}

startParallel();
