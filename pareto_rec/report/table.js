// The table of the front with its filters.
"use strict";

const shownColumns = columns.filter((column) => column.objective || column.varies);

function sorted(rows) {
  const { name, down } = state.sort;
  const key = columnNamed.has(name) ? (row) => numberOf(row, name) : (row) => row[name];
  return [...rows].sort((a, b) => {
    const first = key(a), second = key(b);
    if (first === null || second === null) return (first === null) - (second === null);
    const order = first < second ? -1 : Number(first > second);
    return (down ? -order : order) || a.index - b.index;
  });
}

function headCell(name, text, number) {
  const active = state.sort.name === name;
  const cell = element("th", { scope: "col", "data-column": name, class: number ? "number" : "" });
  if (active) cell.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
  const arrow = active ? (state.sort.down ? " \u25be" : " \u25b4") : "";
  const button = element("button", { type: "button" }, text + arrow);
  button.addEventListener("click", () => {
    const axis = objectiveNamed.get(name);
    const down = active ? !state.sort.down : Boolean(axis && axis.maximise); // the best first
    update({ sort: { name, down } });
    byId("front").querySelector(`th[data-column="${CSS.escape(name)}"] button`).focus();
  });
  cell.append(button);
  return cell;
}

function bodyRow(row) {
  const pick = element("button", { type: "button", "aria-label": `Select point ${row.id}` }, row.id);
  const star = row.selected ? element("span", { class: "star", title: "among the points that keep the most hypervolume" }, "\u2605") : "";
  const line = element("tr", { "data-index": row.index }, element("td", {}, pick), element("td", {}, star));
  for (const column of shownColumns) {
    const text = column.objective ? showObjective(row[column.name]) : show(row[column.name]);
    line.append(element("td", { class: column.words ? "" : "number" }, text));
  }
  line.addEventListener("click", () => choose(row.index));
  return line;
}

/** One button of a row or column of buttons is in the tab order; arrow keys go on from there. */
function walkButtons(event, part, back, forward) {
  const buttons = [...part.querySelectorAll("button")];
  const place = buttons.indexOf(event.target);
  const last = buttons.length - 1;
  const to = { [forward]: Math.min(last, place + 1), [back]: Math.max(0, place - 1), Home: 0, End: last }[event.key];
  if (place < 0 || to === undefined) return;
  event.preventDefault();
  buttons[to].focus();
}

function setTabStop(part, button) {
  part.querySelectorAll("button").forEach((one) => { one.tabIndex = one === button ? 0 : -1; });
}

function oneTabStop(part, back, forward) {
  part.addEventListener("keydown", (event) => walkButtons(event, part, back, forward));
  part.addEventListener("focusin", (event) => setTabStop(part, event.target));
}

function drawTable() {
  const rows = sorted(keptRows());
  const head = element("tr", {}, headCell("id", "Point", false), headCell("selected", "\u2605", false));
  for (const column of shownColumns) head.append(headCell(column.name, titleOf(column.name), !column.words));
  byId("front").tHead.replaceChildren(head);
  byId("front").tBodies[0].replaceChildren(...rows.map(bodyRow));
  byId("count").textContent = `${rows.length} of ${front.length} points`;
  setTabStop(byId("front").tBodies[0], byId("front").querySelector("tbody button"));
  setTabStop(byId("front").tHead, byId("front").querySelector("th[aria-sort] button") ?? byId("front").querySelector("th button"));
  markCurrent();
}

function markCurrent() {
  const scroll = byId("front").closest(".scroll");
  for (const line of byId("front").tBodies[0].rows) {
    const current = Number(line.dataset.index) === state.current;
    if (!current) { line.removeAttribute("aria-current"); continue; }
    line.setAttribute("aria-current", "true");
    setTabStop(byId("front").tBodies[0], line.querySelector("button"));
    const above = line.offsetTop - byId("front").tHead.offsetHeight < scroll.scrollTop;
    const below = line.offsetTop + line.offsetHeight > scroll.scrollTop + scroll.clientHeight;
    if (above || below) scroll.scrollTop = line.offsetTop - scroll.clientHeight / 2;
  }
}

function drawChips() {
  byId("chips").replaceChildren(...Object.entries(state.bounds).map(([name, [low, high]]) => {
    const { words } = columnNamed.get(name);
    const range = words ? words.filter((_, place) => place >= low && place <= high).join(", ")
      : `${low === -Infinity ? "" : show(low)} \u2026 ${high === Infinity ? "" : show(high)}`;
    const chip = element("button", { type: "button", class: "chip" }, `${titleOf(name)}: ${range} \u00d7`);
    chip.setAttribute("aria-label", `Remove filter ${titleOf(name)} ${range}`);
    chip.addEventListener("click", () => { setBound(name, null); byId("bound-column").focus(); });
    return chip;
  }));
}

function csvText() {
  const cell = (value) => {
    const text = value === null ? "" : value === true ? "1" : value === false ? "0" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = sorted(keptRows()).map((row) => data.front.columns.map((name) => cell(row[name])).join(","));
  return [data.front.columns.map(cell).join(","), ...lines, ""].join("\r\n");
}

function download() {
  const link = element("a", { download: "front.csv" });
  link.href = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function startTable() {
  const choices = columns.filter((column) => column.varies && !column.words);
  fillSelect(byId("bound-column"), choices.map((column) => [column.name, titleOf(column.name)]), choices[0]?.name ?? "");
  byId("bound-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const read = (id, empty) => (byId(id).value === "" ? empty : Number(byId(id).value));
    const bound = [read("bound-low", -Infinity), read("bound-high", Infinity)];
    if (byId("bound-column").value) setBound(byId("bound-column").value, bound);
  });
  byId("find").addEventListener("input", (event) => update({ find: event.target.value }));
  byId("only-selected").addEventListener("change", (event) => update({ onlySelected: event.target.checked }));
  byId("download").addEventListener("click", download);
  oneTabStop(byId("front").tHead, "ArrowLeft", "ArrowRight");
  oneTabStop(byId("front").tBodies[0], "ArrowUp", "ArrowDown");
  onChange(["find", "onlySelected", "bounds", "sort"], drawTable);
  onChange(["current"], markCurrent);
  onChange(["bounds"], drawChips);
}

startTable();
