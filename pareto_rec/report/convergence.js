// How the hypervolume grew, against a clock of choice, with the baselines as lines.
"use strict";

const CLOCKS = [["fits", "Fits"], ["records", "Records"], ["seconds", "Seconds since the run began"]]
  .filter(([key]) => data.convergence[key].some((value) => value !== null));

function baselineLines(x) {
  return data.convergence.baselines.map(({ name, hypervolume }, place) => ({
    type: "scatter", mode: "lines", name: `${plain(name)} (${(1000 * hypervolume).toFixed(2)})`, hoverinfo: "name",
    x: [0, x[x.length - 1]], y: [1000 * hypervolume, 1000 * hypervolume],
    line: { color: colourOf(place ? "ink" : "expert-0"), width: 1.4, dash: place ? "dot" : "dash" },
  }));
}

function drawConvergence() {
  const clock = byId("clock").value;
  const x = [0, ...data.convergence[clock]];
  const y = [0, ...data.convergence.hypervolume.map((value) => 1000 * value)];
  const title = CLOCKS.find(([key]) => key === clock)[1];
  const curve = {
    type: "scatter", mode: "lines", name: "search so far", x, y, fill: "tozeroy", fillcolor: colourOf("shade"),
    line: { color: colourOf("front"), width: 2, shape: "hv" },
    hovertemplate: `${title} %{x:,.0f}<br>hypervolume \u00d7 1000: %{y:.3f}<extra></extra>`,
  };
  const axis = { gridcolor: colourOf("rule"), zeroline: false, linecolor: colourOf("soft"), automargin: true, rangemode: "tozero" };
  const layout = {
    ...chartLayout(),
    xaxis: { ...axis, title: { text: title } }, yaxis: { ...axis, title: { text: "Hypervolume \u00d7 1000" } },
    legend: { orientation: "h", y: -0.25, font: { size: 11 } },
  };
  return Plotly.react("convergence", [curve, ...baselineLines(x)], layout, PLOTLY);
}

fillSelect(byId("clock"), CLOCKS, "fits");
byId("clock").addEventListener("change", drawConvergence);
drawConvergence();
onColours(drawConvergence);
