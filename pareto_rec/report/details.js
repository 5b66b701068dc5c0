// The chosen point: its values, the command that picks it, and its neighbours on the front.
"use strict";

const NEIGHBOURS = 4;
const searched = objectives.filter((axis) => axis.searched);

function valueRows(pairs) {
  const rows = pairs.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)));
  return element("table", {}, element("tbody", {}, ...rows));
}

/** Value of an objective and its rank on the front, 1 the best. */
function ranked(row, axis) {
  const value = row[axis.name];
  if (value === null) return show(value);
  const better = front.filter((other) => other[axis.name] !== null
    && (axis.maximise ? other[axis.name] > value : other[axis.name] < value)).length;
  return `${showObjective(value)}  (${better + 1} of ${front.length})`;
}

/** A word of a command line, in quotes where a shell would read more into it. */
function quoted(word) {
  return /^[\w.@%+=:,/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

function commandOf(row) { return `pareto-rec pick ${quoted(data.run)} --point ${quoted(row.id)}`; }

async function copy(text, field) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a browser that gives a page from disk no clipboard
    getSelection().selectAllChildren(field);
    if (!document.execCommand("copy")) { say("Not copied; the command is marked, copy it by keys"); return; }
  }
  say("Copied");
  byId("copy").textContent = "Copied";
}

function commandBox(row) {
  const text = element("code", { id: "command", tabindex: "0" }, commandOf(row));
  const button = element("button", { type: "button", id: "copy" }, "Copy the command");
  button.addEventListener("click", () => copy(text.textContent, text));
  return element("div", { class: "command" }, text, button);
}

/** Mean and 95 % interval over fresh seeds, per searched objective. */
function confirmedParts(row) {
  const known = data.confirmed?.points[row.id];
  if (!known) return [];
  return data.confirmed.stages.filter((stage) => known[stage]).flatMap((stage) => [
    element("h4", {}, `Trained again, on ${stage} data`),
    valueRows(searched.filter((axis) => known[stage][axis.name]).map((axis) => {
      const [mean, low, high] = known[stage][axis.name].map(showObjective);
      return [axis.label, low === high ? mean : `${mean}  [${low}, ${high}]`];
    })),
  ]).concat(chanceOf(known));
}

/** How sure it is that no other confirmed point is better on test data. */
function chanceOf({ non_dominated: chance, dominated }) {
  const parts = [["the search's own", chance.own], ["all fronts'", chance.all]]
    .filter(([, value]) => value !== null).map(([of, value]) => `${value.toFixed(2)} among ${of} points`);
  if (!parts.length) return [];
  const means = dominated ? "; by means it is dominated" : "";
  return [element("p", { class: "hint" }, `Probability of being non-dominated on test data: ${parts.join(", ")}${means}.`)];
}

function drawDetails() {
  const host = byId("details");
  if (state.current === null) {
    host.replaceChildren(element("h3", {}, "No point chosen"),
      element("p", { class: "hint" }, "Click a point of the front in the scatter, a line of the parallel coordinates or a row of the table. By keys: arrows in the scatter, or Enter on a row."));
    return;
  }
  const row = front[state.current];
  host.replaceChildren(
    element("h3", {}, `Point ${row.id}`),
    element("p", { class: "hint" }, `Fit ${row.fit}${row.selected ? "; \u2605 among the points that keep the most hypervolume" : ""}`),
    commandBox(row),
    element("h4", {}, "Objectives on validation data (rank on the front)"),
    valueRows(objectives.map((axis) => [axis.label, ranked(row, axis)])),
    ...confirmedParts(row));
}

/** The points that are nearest in the searched objectives, each in parts of its range on the front. */
function neighboursOf(row) {
  const spans = searched.map((axis) => {
    const values = front.map((other) => other[axis.name]);
    return Math.max(...values) - Math.min(...values) || 1;
  });
  const away = (other) => Math.hypot(...searched.map((axis, place) => (other[axis.name] - row[axis.name]) / spans[place]));
  return front.filter((other) => other !== row).sort((a, b) => away(a) - away(b) || a.index - b.index).slice(0, NEIGHBOURS);
}

/** Where a value lies between the smallest and the largest on the front, 0 to 100. */
function shareOf(row, name) {
  const values = front.map((other) => numberOf(other, name)).filter((value) => value !== null);
  const low = Math.min(...values), span = Math.max(...values) - low;
  const value = numberOf(row, name);
  return value === null || !span || columnNamed.get(name).words ? 0 : (100 * (value - low)) / span;
}

/** A long name that may go on in a second line after a dot or an underscore. */
function breakable(name) {
  return name.split(/(?<=[._])/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));
}

function neighbourRow(name, rows) {
  const objective = objectiveNamed.get(name);
  const said = (row) => (objective ? showObjective(row[name]) : show(row[name]));
  const cells = rows.map((row) => {
    const text = said(row);
    const same = row !== rows[0] && text === said(rows[0]);
    const cell = element("td", { class: `bar${same ? " same" : ""}` }, text);
    cell.style.setProperty("--share", `${shareOf(row, name).toFixed(1)}%`);
    return cell;
  });
  return element("tr", {}, element("th", { scope: "row" }, ...breakable(titleOf(name).replace(/^(train|serve)\./, ""))), ...cells);
}

function neighbourHead(rows) {
  return element("tr", {}, element("td", {}), ...rows.map((row, place) => {
    if (!place) return element("th", { scope: "col" }, `${row.id} (chosen)`);
    const button = element("button", { type: "button", "aria-label": `Choose neighbour ${row.id}` }, row.id);
    button.addEventListener("click", () => { choose(row.index); byId("neighbours").focus(); });
    return element("th", { scope: "col" }, button);
  }));
}

function drawNeighbours() {
  const host = byId("neighbours");
  if (state.current === null) {
    host.replaceChildren(element("p", { class: "hint" }, "Choose a point to see what it decides, beside the points next to it."));
    return;
  }
  const row = front[state.current];
  const rows = [row, ...neighboursOf(row)];
  const variables = data.variables.filter((name) => rows.some((one) => one[name] !== null));
  const group = (title, names) => [
    element("tr", {}, element("th", { colspan: rows.length + 1, scope: "colgroup", class: "group" }, title)),
    ...names.map((name) => neighbourRow(name, rows))];
  host.replaceChildren(element("table", {}, element("thead", {}, neighbourHead(rows)), element("tbody", {},
    ...group("Objectives searched on", searched.map((axis) => axis.name)),
    ...group("Training variables", variables.filter((name) => name.startsWith("train."))),
    ...group("Serving variables", variables.filter((name) => name.startsWith("serve."))))));
}

onChange(["current"], drawDetails);
onChange(["current"], drawNeighbours);
