// The lists of one person at two points of the front, side by side.
"use strict";

const shownLists = data.lists;

function pointOptions() {
  return front.filter((row) => shownLists.lists[row.id]).map((row) => [row.id, `${row.id}: ${inShort(row)}`]);
}

/** The point that is best in an objective, among those with lists. */
function bestOf(axis) {
  const rows = front.filter((row) => shownLists.lists[row.id] && row[axis.name] !== null);
  const sign = axis.maximise ? 1 : -1;
  return rows.reduce((best, row) => (sign * row[axis.name] > sign * best[axis.name] ? row : best), rows[0])?.id;
}

function itemTitle(id) { return isolated(shownLists.items[id]?.title ?? id); }

function listItem(id, other, wanted) {
  const known = shownLists.items[id] ?? { title: id, categories: [], popularity: null };
  const facts = [known.categories.map(isolated).join(", "), known.popularity === null ? "" : `${known.popularity} in training`];
  const line = element("li", { class: other.includes(id) ? "" : "only" }, element("bdi", { class: "item" }, known.title));
  if (wanted.includes(id)) line.append(" ", element("span", { class: "hit" }, "\u2713 hit"));
  line.append(element("span", { class: "facts" }, facts.filter(Boolean).join(" \u00b7 ")));
  return line;
}

function drawList(host, id, list, other, wanted) {
  const hits = list.filter((item) => wanted.includes(item)).length;
  const only = list.filter((item) => !other.includes(item)).length;
  host.replaceChildren(
    element("p", { class: "hint" }, `${hits} of ${list.length} are hits, ${only} are not in the other list`),
    element("ol", { "aria-label": `List at point ${id}` }, ...list.map((item) => listItem(item, other, wanted))));
}

function drawLists() {
  const place = Number(byId("person").value);
  const user = shownLists.users[place];
  const ids = ["a", "b"].map((side) => byId(`list-point-${side}`).value);
  const lists = ids.map((id) => shownLists.lists[id][place]);
  byId("person-facts").replaceChildren(
    element("p", {}, `History of ${user.history} items, lately (newest first): ${user.last.map(itemTitle).join("; ")}.`),
    element("p", {}, `To be predicted (${user.held_out.length}): ${user.held_out.slice(0, 12).map(itemTitle).join("; ")}${user.held_out.length > 12 ? "; \u2026" : "."}`));
  ["a", "b"].forEach((side, index) => drawList(byId(`list-${side}`), ids[index], lists[index], lists[1 - index], user.held_out));
}

function startLists() {
  const options = pointOptions();
  if (!shownLists.users.length || !options.length) return;
  byId("lists-section").hidden = false;
  const people = shownLists.users.map((user, place) => [String(place), `user ${isolated(user.id)}, ${user.history} items in the history`]);
  fillSelect(byId("person"), people, "0");
  fillSelect(byId("list-point-a"), options, bestOf(searched[0]));
  fillSelect(byId("list-point-b"), options, bestOf(searched[1]));
  for (const id of ["person", "list-point-a", "list-point-b"]) byId(id).addEventListener("change", drawLists);
  for (const side of ["a", "b"]) {
    byId(`take-${side}`).addEventListener("click", () => {
      byId(`list-point-${side}`).value = front[state.current].id;
      drawLists();
    });
  }
  onChange(["current"], () => {
    const known = state.current !== null && Boolean(shownLists.lists[front[state.current].id]);
    for (const side of ["a", "b"]) byId(`take-${side}`).disabled = !known;
  });
  drawLists();
}

if (shownLists) startLists();
