// The run's data, what the reader chose, and who wants to know when that changes.
"use strict";

const data = JSON.parse(document.getElementById("run-data").textContent);
const byId = (id) => document.getElementById(id);

function rowsOf(table) {
  return table.rows.map((cells, index) => {
    const row = { index };
    table.columns.forEach((name, place) => { row[name] = cells[place]; });
    return row;
  });
}

const front = rowsOf(data.front);
const otherRecords = rowsOf(data.records);
const baselines = rowsOf(data.baselines);
const objectives = data.objectives.filter((axis) => data.front.columns.includes(axis.name));
const objectiveNamed = new Map(objectives.map((axis) => [axis.name, axis]));

// Columns of the front that can be drawn, filtered and sorted; words take the place of their rank.
const columns = [...objectives.map((axis) => axis.name), ...data.variables].map((name) => {
  const present = front.map((row) => row[name]).filter((value) => value !== null);
  const words = present.some((value) => typeof value === "string")
    ? [...new Set(present.map(String))].sort() : null;
  return { name, words, varies: new Set(present).size > 1, objective: objectiveNamed.get(name) };
});
const columnNamed = new Map(columns.map((column) => [column.name, column]));

/** Text of a column: an objective's label, a variable's name. */
function titleOf(name) {
  const axis = objectiveNamed.get(name);
  return axis ? axis.label : name;
}

/** Number to draw or compare; null where the variable is not active. */
function numberOf(row, name) {
  const value = row[name];
  if (value === null || value === undefined) return null;
  const { words } = columnNamed.get(name);
  return words ? words.indexOf(String(value)) : value;
}

function show(value) {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 0.001 && size < 10000 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

/** Fixed decimals, so that a column of numbers lines up. */
function showObjective(value) {
  return typeof value === "number" ? value.toFixed(Math.abs(value) < 10 ? 4 : 1) : show(value);
}

const state = {
  x: objectives[0].name,
  y: objectives[1].name,
  colour: "",
  baselines: true,
  records: true,
  intervals: data.confirmed ? data.confirmed.stages[data.confirmed.stages.length - 1] : "",
  theme: "", // "light" or "dark"; empty: as the system has it
  current: null, // index of the selected row of the front
  find: "",
  onlySelected: false,
  bounds: {}, // column -> [low, high]
  sort: { name: objectives[0].name, down: objectives[0].maximise },
  parallel: [...objectives.filter((axis) => axis.searched).map((axis) => axis.name), ...data.main],
};
const listeners = [];

/** Change the state, then tell every view what changed. */
function update(change) {
  Object.assign(state, change);
  const keys = new Set(Object.keys(change));
  listeners.forEach((listener) => listener(keys));
}

/** Draw now, and again whenever one of the keys changes. */
function onChange(keys, draw) {
  listeners.push((changed) => { if (keys.some((key) => changed.has(key))) draw(); });
  draw();
}

function passes(row) {
  if (state.onlySelected && !row.selected) return false;
  for (const [name, [low, high]] of Object.entries(state.bounds)) {
    const value = numberOf(row, name);
    if (value === null || value < low || value > high) return false;
  }
  const wanted = state.find.trim().toLowerCase();
  if (!wanted) return true;
  return data.front.columns.some((name) => show(row[name]).toLowerCase().includes(wanted));
}

function keptRows() { return front.filter(passes); }

/** Searched objectives of a point in a few words. */
function inShort(row) {
  return objectives.filter((axis) => axis.searched)
    .map((axis) => `${isolated(axis.label)} ${showObjective(row[axis.name])}`).join(", ");
}

function choose(index) {
  update({ current: index });
  if (index !== null) say(`Point ${front[index].id}: ${inShort(front[index])}`);
}

/** The next row in an order of rows; the first or last one where none of them is chosen yet. */
function stepFrom(rows, step) {
  const place = rows.findIndex((row) => row.index === state.current);
  if (place < 0) return rows[step > 0 ? 0 : rows.length - 1];
  return rows[Math.min(rows.length - 1, Math.max(0, place + step))];
}

function setBound(name, bound) {
  const bounds = { ...state.bounds };
  if (bound) bounds[name] = bound; else delete bounds[name];
  update({ bounds });
}

/** Told to those who do not see what a click or a key has changed. */
function say(text) { byId("said").textContent = text; }

// Somebody's own text that runs from right to left would take the numbers beside it along: isolates
// keep them apart where a line is one string (elsewhere <bdi> does).
const RIGHT_TO_LEFT = /[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufdff\ufe70-\ufefc]|[\ud802\ud803\ud83a\ud83b]/;

function isolated(text) { return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : String(text); }

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function fillSelect(select, options, value) {
  select.replaceChildren(...options.map(([key, text]) => {
    const option = element("option", {}, text);
    option.value = key;
    return option;
  }));
  select.value = value;
}
