/* Cost, categories by methods, mean ranks, defect types by methods, and what did not finish. */

const chartWidth = (id) => Math.max(280, Math.min(900, $(id).clientWidth));

function drawCost() {
  const whole = rows().filter((row) => !lacks(row));
  const points = whole.map((row) => ({ row, cost: row.costs[state.cost], value: row.values[state.metric] }))
    .filter((p) => p.cost > 0 && known(p.value));
  $("cost-tools").replaceChildren(...["predict_ms_per_image", "fit_s", "peak_memory_mb"].map((name) => el("button", {
    type: "button", "aria-pressed": String(name === state.cost), "data-cost": name,
    onclick: () => { state.cost = name; drawCost(); $("cost-tools").querySelector(`[data-cost=${name}]`).focus(); },
  }, COSTS[name].label)));
  $("cost-chart").replaceChildren(...(points.length
    ? [scatter(points, state.cost, state.metric, chartWidth("cost-chart")),
      el("p", { class: "muted small" }, "Dashed line and bold names: the Pareto front, what nothing else beats for the same cost or less.",
        rows().some((row) => row.n_categories && lacks(row)) ? " Methods that lack categories, or are not ranked, are left out." : null)]
    : [el("p", { class: "muted" }, "No method has both numbers.")]));
}

function drawMatrix() {
  const ground = DATA.rows.filter((row) => row.dataset === state.dataset && row.protocol === state.protocol);
  const split = ground.some((row) => row.category), order = sorted(rows(""), columns());
  const names = split ? unique(ground.map((row) => row.category)).filter(Boolean) : [""];
  const only = onlyCategory();
  const values = ground.map((row) => row.values[state.metric]).filter(known);
  const low = Math.min(0.5, ...values), high = Math.max(low + 1e-9, ...values);
  const cells = (name) => order.map((method) => ground.find((row) => row.category === name && row.method === method.method));
  const body = names.map((name) => {
    const found = cells(name), best = Math.max(...found.filter((row) => known(row?.values[state.metric])).map((row) => row.values[state.metric]));
    return el("tr", {}, el("th", { scope: "row", title: name || only }, short(name || only, 60)), found.map((row) => matrixCell(row, name || only, low, high, best)));
  });
  $("matrix").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, metricLabel(state.metric)), order.map((row) => el("th", { scope: "col" }, row.method)))),
    el("tbody", {}, body));
  const ranking = DATA.rankings.find((r) => r.dataset === state.dataset && r.protocol === state.protocol && r.metric === state.metric);
  $("ranking").replaceChildren(...(ranking ? [
    el("h3", {}, `Mean rank by ${metricLabel(state.metric)} over ${ranking.n_categories} categories`),
    criticalDifference(ranking, chartWidth("ranking")),
    el("p", { class: "muted small" }, `1 = best. Bars join methods that cannot be told apart over categories (Wilcoxon signed-rank, Holm, 5 %).${ranking.n_categories < 6 ? ` With ${ranking.n_categories} categories nothing can be: it takes 6 or more.` : ""}`),
  ] : []));
}

function matrixCell(row, category, low, high, best) {
  const value = row?.values[state.metric];
  if (!known(value)) return el("td", {}, el("div", { class: "none" }, row ? (row.n_categories ? "–" : row.status) : "not run"));
  const cell = el("td", { class: value === best ? "best" : null }, el("button", {
    type: "button", title: `${row.method} on ${category}`,
    onclick: () => { chooseJob(jobsOf(row.method, category)[0]); drawJob(); $("job").scrollIntoView(); $("job-choice").focus({ preventScroll: true }); },
  }, fixed(value)));
  const share = Math.max(0, Math.min(1, (value - low) / (high - low)));
  cell.style.background = `color-mix(in srgb, var(--heat) ${Math.round(share * 42)}%, var(--page))`;
  return cell;
}

function jobsOf(method, category) {
  return DATA.jobs.filter((job) => job.dataset === state.dataset && job.protocol === state.protocol
    && job.method === method && job.category === category && job.status === "ok");
}

/* One table per category; of many, the first is open. */
function drawDefects() {
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

function drawUnfinished() {
  const found = DATA.jobs.filter((job) => job.status !== "ok");
  $("unfinished").hidden = !found.length;
  const groups = grouped(found, (job) => `${job.status} ${job.method} ${job.error}`);
  $("unfinished-list").replaceChildren(...[...groups.values()].map((group) => {
    const [first] = group;
    const where = group.map((job) => `${job.method} on ${job.dataset}/${job.category}, ${job.protocol}${job.fold ? `, fold ${job.fold}` : ""}, seed ${job.seed}`);
    return el("details", { open: found.length < 6 },
      el("summary", {}, el("span", { class: `badge ${first.status === "failed" ? "bad" : "floor"}` }, first.status), ` ${short(first.error ?? "no reason given", 300)} `, el("span", { class: "muted" }, `(${plural(group.length, "job")})`)),
      el("ul", {}, where.map((text) => el("li", {}, text))),
      first.traceback ? el("details", {}, el("summary", { class: "muted" }, "traceback"), el("pre", {}, first.traceback)) : null);
  }));
}

function grouped(list, key) {
  const groups = new Map();
  for (const one of list) groups.set(key(one), [...(groups.get(key(one)) ?? []), one]);
  return groups;
}
