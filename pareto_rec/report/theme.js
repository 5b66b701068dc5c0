// Colours: as the system has them, or as the reader wants them.
"use strict";

const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const THEMES = [["", "system"], ["light", "light"], ["dark", "dark"]];

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Charts stay on this page: no button may send one anywhere. */
const PLOTLY = {
  displaylogo: false, responsive: true, plotlyServerURL: "", showSendToCloud: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "sendChartToCloud", "sendDataToCloud"],
};

/** What both charts share. */
function chartLayout() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", margin: { l: 60, r: 10, t: 10, b: 50 },
    font: { color: colourOf("ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colourOf("soft"), activecolor: colourOf("ink") },
  };
}

/** Draw again whenever colours change, whoever changed them. */
function onColours(draw) {
  onChange(["theme"], draw);
  darkSystem.addEventListener("change", draw);
}

function drawTheme() {
  document.documentElement.dataset.theme = state.theme;
  byId("theme").textContent = `Colours: ${THEMES.find(([key]) => key === state.theme)[1]}`;
}

function startTheme() {
  byId("theme").addEventListener("click", () => {
    const place = THEMES.findIndex(([key]) => key === state.theme);
    update({ theme: THEMES[(place + 1) % THEMES.length][0] });
  });
  onChange(["theme"], drawTheme);
}

startTheme();
