/* Defect types by methods. */

/* One table per category; of many, the first is open. */
function drawDefects() {
  $("defects").hidden = !DATA.defects.length;
  const found = DATA.defects.filter((table) => table.dataset === state.dataset && table.protocol === state.protocol
    && (!state.category || table.category === state.category));
  const order = sorted(rows(""), columns()).map((row) => row.method);
  $("defect-tables").replaceChildren(...(found.length ? found.map((table, i) => {
    const made = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Defect types of ${table.category} by methods, scrolls sideways` }, defectTable(table, order));
    return found.length > 1 ? el("details", { open: found.length < 4 || i === 0 }, el("summary", {}, short(table.category, 120)), made) : made;
  }) : [el("p", { class: "muted" }, "No category here has two types of defects or more.")]));
}

function defectTable(table, order) {
  const places = order.map((method) => [method, table.methods.indexOf(method)]).filter(([, place]) => place >= 0);
  const cell = (share) => {
    const made = el("td", { class: "number" }, fixed(share));
    if (known(share)) made.style.background = `color-mix(in srgb, var(--heat) ${Math.round(share * 42)}%, var(--page))`;
    return made;
  };
  return el("table", { class: "shares" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "defect type"), places.map(([method]) => el("th", { scope: "col", class: "number" }, method)))),
    el("tbody", {}, Object.entries(table.shares).map(([defect, shares]) => el("tr", {}, el("th", { scope: "row", title: defect }, short(defect, 60)), places.map(([, i]) => cell(shares[i]))))));
}

section({ draw: drawDefects });
