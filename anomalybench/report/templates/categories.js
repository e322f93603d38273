/* Categories by methods, and mean ranks. */

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

section({ draw: drawMatrix, ofWidth: true });
