// The scatter: the front and everything it is to be compared with, on two axes of choice.
"use strict";

const symbols = ["square", "triangle-up", "diamond", "triangle-down", "pentagon", "x", "triangle-left", "star"];

/** Text for a hover label, where plotly would read tags. */
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function trace(rows, name, marker, describe) {
  return {
    type: "scatter", mode: "markers", name, marker,
    x: rows.map((row) => row[state.x]), y: rows.map((row) => row[state.y]),
    text: rows.map((row) => plain(describe(row))),
    hovertemplate: `%{text}<br>${plain(titleOf(state.x))} %{x:.4f}<br>${plain(titleOf(state.y))} %{y:.4f}<extra></extra>`,
  };
}

function backgroundTraces() {
  const traces = [];
  if (state.records) {
    traces.push(trace(otherRecords, "other records",
      { size: 4, color: colourOf("faint"), opacity: 0.3 }, (row) => `record ${row.id}`));
  }
  if (state.baselines) {
    data.experts.forEach((expert, place) => {
      const rows = baselines.filter((row) => row.expert === expert.name);
      const volume = expert.hypervolume === null ? "" : ` (${(1000 * expert.hypervolume).toFixed(2)})`;
      const marker = { size: 4.5, color: colourOf(`expert-${place % 8}`), symbol: symbols[place % 8], opacity: rows.map((row) => (row.on_front ? 0.85 : 0.3)) };
      traces.push(trace(rows, plain(expert.name + volume), marker, (row) => `${row.expert} ${row.id}`));
    });
  }
  return traces;
}

function frontMarker(rows, size, colour) {
  const kept = rows.map(passes);
  const marker = {
    size, color: colourOf(colour), opacity: kept.map((keep) => (keep ? 0.9 : 0.12)),
    line: { width: 0.7, color: colourOf("paper") },
  };
  if (!state.colour) return marker;
  const every = front.map((row) => numberOf(row, state.colour)).filter((value) => value !== null);
  return {
    ...marker, color: rows.map((row) => numberOf(row, state.colour)), colorscale: "Viridis",
    cmin: Math.min(...every), cmax: Math.max(...every),
  };
}

function frontTraces() {
  const describe = (row) => `point ${row.id}`;
  const groups = [
    ["front", front.filter((row) => !row.selected), 8, "front"],
    ["selected points of the front", front.filter((row) => row.selected), 12, "chosen"],
  ];
  return groups.map(([name, rows, size, colour]) => {
    const drawn = trace(rows, name, frontMarker(rows, size, colour), describe);
    drawn.legendrank = 1;
    drawn.customdata = rows.map((row) => row.index);
    return drawn;
  });
}

function colourBar(traces) {
  if (!state.colour) return;
  const { words } = columnNamed.get(state.colour);
  const last = traces[traces.length - 1].marker;
  last.showscale = true;
  last.colorbar = { title: { text: plain(titleOf(state.colour)), side: "right" }, thickness: 12, outlinewidth: 0 };
  if (words) Object.assign(last.colorbar, { tickvals: words.map((_, place) => place), ticktext: words.map(plain) });
}

function currentTrace() {
  const row = state.current === null ? null : front[state.current];
  const marker = { size: 20, symbol: "circle-open", color: colourOf("ink"), line: { width: 3 } };
  return { ...trace(row ? [row] : [], "selected by you", marker, () => ""), showlegend: false, hoverinfo: "skip", hovertemplate: null };
}

/** Distances from the middle to both ends of intervals, as plotly wants them. */
function errorBars(values) {
  return {
    type: "data", symmetric: false, color: colourOf("confirmed"), thickness: 1.2, width: 3,
    array: values.map(([mean, , high]) => high - mean),
    arrayminus: values.map(([mean, low]) => mean - low),
  };
}

/** Means over fresh seeds with 95 % intervals, on the data that the reader asks for. */
function confirmedTrace() {
  const stage = state.intervals;
  const found = front.map((row) => ({ row, values: data.confirmed.points[row.id]?.[stage] }))
    .filter(({ values }) => values && values[state.x] && values[state.y]);
  const x = found.map(({ values }) => values[state.x]), y = found.map(({ values }) => values[state.y]);
  const rows = found.map(({ row }, place) => ({ ...row, [state.x]: x[place][0], [state.y]: y[place][0] }));
  const marker = { size: 9, symbol: "diamond", color: colourOf("confirmed"), line: { width: 0.7, color: colourOf("paper") } };
  const drawn = trace(rows, `confirmed on ${stage} data`, marker, (row) => `point ${row.id}, trained again`);
  return { ...drawn, customdata: rows.map((row) => row.index), error_x: errorBars(x), error_y: errorBars(y), legendrank: 2 };
}

/** The opponents' chosen points in the same way, without intervals: one trace for each of them. */
function confirmedOpponents() {
  const stage = state.intervals;
  const rows = data.confirmed.opponents.filter((row) => row[stage] && row[stage][state.x] && row[stage][state.y])
    .map((row) => ({ ...row, [state.x]: row[stage][state.x][0], [state.y]: row[stage][state.y][0] }));
  return [...new Set(rows.map((row) => row.front))].map((name, place) => {
    const marker = { size: 7, symbol: `${symbols[place % 8]}-open`, color: colourOf("soft"), line: { width: 1.2 } };
    const own = rows.filter((row) => row.front === name);
    return { ...trace(own, plain(`${name}, on ${stage} data`), marker, (row) => `${row.front} ${row.id}`), legendrank: 3 };
  });
}

function axisLayout(name) {
  const { objective } = columnNamed.get(name);
  const arrow = objective.maximise ? "   better \u2192" : "";
  const back = objective.maximise ? "" : "\u2190 better   ";
  const layout = {
    title: { text: plain(back + objective.label + arrow) }, gridcolor: colourOf("rule"), zeroline: false,
    linecolor: colourOf("soft"), automargin: true,
  };
  if (objective.range) layout.range = rangeWith(objective.range, name);
  return layout;
}

/** A range that also holds the confirmed points and their intervals, where they are shown. */
function rangeWith(range, name) {
  if (!state.intervals) return [...range];
  const known = Object.values(data.confirmed.points).map((point) => point[state.intervals]?.[name]).filter(Boolean);
  const ends = [...range, ...known.flat()];
  const low = Math.min(...ends), high = Math.max(...ends), room = 0.03 * (high - low);
  return [low < range[0] ? low - room : low, high > range[1] ? high + room : high];
}

/** Dashed lines at the reference values and bounds, beyond which a point is worth nothing. */
function limitShapes() {
  const shapes = [];
  for (const [name, axis, other] of [[state.x, "x", "y"], [state.y, "y", "x"]]) {
    const { reference, at_least: least, at_most: most } = objectiveNamed.get(name);
    for (const value of new Set([reference, least, most])) {
      if (value === null) continue;
      shapes.push({
        type: "line", [`${axis}0`]: value, [`${axis}1`]: value, [`${other}0`]: 0, [`${other}1`]: 1,
        [`${other}ref`]: "paper", line: { color: colourOf("soft"), width: 1.5, dash: "dash" }, layer: "below",
      });
    }
  }
  return shapes;
}

function drawScatter() {
  const traces = [...backgroundTraces(), ...frontTraces()];
  colourBar(traces);
  if (state.intervals) traces.push(...(state.baselines ? confirmedOpponents() : []), confirmedTrace());
  traces.push(currentTrace());
  const layout = {
    ...chartLayout(),
    xaxis: axisLayout(state.x), yaxis: axisLayout(state.y), shapes: limitShapes(),
    legend: { orientation: "h", y: byId("scatter").clientWidth < 700 ? -0.32 : -0.16, font: { size: 11 }, itemsizing: "constant" },
    uirevision: `${state.x} ${state.y}`, // a zoom lasts until an axis changes
  };
  return Plotly.react("scatter", traces, layout, PLOTLY);
}

const WALKS = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] };

/** Arrow keys go from point to point of the front, along the axis of the arrow. */
function walk(event) {
  if (event.key === "Escape") choose(null);
  if (!WALKS[event.key]) return;
  event.preventDefault();
  const [axis, step] = WALKS[event.key];
  const name = state[axis];
  const rows = keptRows().filter((row) => row[name] !== null).sort((a, b) => a[name] - b[name] || a.index - b.index);
  if (rows.length) choose(stepFrom(rows, step).index);
}

function startScatter() {
  const axes = objectives.map((axis) => [axis.name, axis.label]);
  const coloured = columns.filter((column) => column.varies).map((column) => [column.name, titleOf(column.name)]);
  for (const [id, key, options] of [
    ["axis-x", "x", axes], ["axis-y", "y", axes], ["axis-colour", "colour", [["", "none"], ...coloured]],
  ]) {
    fillSelect(byId(id), options, state[key]);
    byId(id).addEventListener("change", (event) => update({ [key]: event.target.value }));
  }
  for (const key of ["baselines", "records"]) {
    byId(`show-${key}`).addEventListener("change", (event) => update({ [key]: event.target.checked }));
  }
  if (data.confirmed) {
    byId("intervals-label").hidden = false;
    fillSelect(byId("intervals"), [["", "not shown"], ...data.confirmed.stages.map((stage) => [stage, `on ${stage} data`])], state.intervals);
    byId("intervals").addEventListener("change", (event) => update({ intervals: event.target.value }));
  }
  onChange(["x", "y", "colour", "baselines", "records", "intervals", "current", "find", "onlySelected", "bounds"], drawScatter);
  byId("scatter").on("plotly_click", (event) => {
    const index = event.points[0].customdata;
    if (typeof index === "number") choose(index);
  });
  byId("scatter").addEventListener("keydown", walk);
  onColours(drawScatter);
}

startScatter();
