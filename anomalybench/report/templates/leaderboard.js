/* The leaderboard: filters, the sentence above the table, sortable columns. */

const grounds = () => unique(DATA.rows.filter((row) => row.dataset === state.dataset).map((row) => row.protocol));

function drawFilters() {
  const ground = DATA.rows.filter((row) => row.dataset === state.dataset && row.protocol === state.protocol);
  const categories = unique(ground.map((row) => row.category)).filter(Boolean);
  const supervisions = unique(ground.map((row) => row.supervision).filter(Boolean)).sort();
  const change = (name) => (value) => { state[name] = value; settle(); drawAll(); $("filters").querySelector(`[data-name=${name}] select`).focus(); };
  const entries = {
    dataset: ["dataset", unique(DATA.rows.map((row) => row.dataset)).map((name) => [name, name])],
    protocol: ["protocol", grounds().map((name) => [name, name])],
    category: ["category", [["", categories.length ? `all ${categories.length} (mean)` : onlyCategory()], ...categories.map((name) => [name, name])]],
    supervision: ["learns from", [["", "anything"], ...supervisions.map((name) => [name, name])]],
    metric: ["metric", DATA.metrics.map((metric) => [metric.name, metric.label])],
  };
  $("filters").replaceChildren(...Object.entries(entries).map(([name, [label, options]]) => {
    const made = select(label, options, state[name], change(name));
    made.dataset.name = name;
    return made;
  }));
}

const onlyCategory = () => DATA.jobs.find((job) => job.dataset === state.dataset && job.protocol === state.protocol).category;

/* After a filter has changed: every other choice must still exist. */
function settle() {
  if (!grounds().includes(state.protocol)) state.protocol = grounds()[0];
  if (!rows().length) state.category = "";
  if (!rows().length) state.supervision = "";
  if (!jobs().some((job) => job.id === state.job?.id)) chooseJob(bestJob());
}

/* Whether a row has no rank: too few test images, or categories that others have are missing. */
const lacks = (row) => Boolean(row.not_ranked) || row.n_categories < Math.max(...rows().map((one) => one.n_categories));

/* Rows that have a value of the metric, the leader first. */
function ranked(found) {
  const value = (row) => row.values[state.metric];
  return found.filter((row) => known(value(row)))
    .sort((a, b) => lacks(a) - lacks(b) || b.n_categories - a.n_categories || value(b) - value(a) || (a.kind === "floor") - (b.kind === "floor"));
}

function columns() {
  const metric = state.metric;
  const number = (name) => ({ key: name, ranks: true, title: metricLabel(name), value: (row) => row.values[name], cell: (row) => measured(row, name) });
  const cost = (name) => ({ key: name, title: COSTS[name].label, value: (row) => row.costs[name], cell: (row) => costText(name, row.costs[name]), ascending: true });
  const available = DATA.metrics.map((m) => m.name).filter((name) => name !== metric);
  const main = available.filter((name) => DATA.metrics.some((m) => m.name === name && m.main));
  return [
    { key: "method", title: "method", value: (row) => row.method, ascending: true },
    { key: "supervision", title: "learns from", value: (row) => row.supervision ?? "", cell: (row) => row.supervision ?? "–", text: true, ascending: true },
    { key: "metric", title: metricLabel(metric), ranks: true, value: (row) => row.values[metric], cell: (row) => measured(row, metric) },
    { key: "bars", title: "95 % interval", bars: true },
    ...main.map(number),
    cost("fit_s"), cost("predict_ms_per_image"),
    ...(state.moreColumns ? [cost("latency_p50_ms"), cost("latency_p95_ms"), cost("peak_memory_mb"), cost("params_m"), ...available.filter((name) => !main.includes(name)).map(number)] : []),
    { key: "remarks", title: "remarks", remarks: true },
  ];
}

function measured(row, name) {
  const limits = row.intervals[name];
  return [fixed(row.values[name]), limits && known(limits[0]) ? el("div", { class: "muted small" }, `${fixed(limits[0])} – ${fixed(limits[1])}`) : null];
}

function sorted(found, listed) {
  const column = listed.find((one) => one.key === state.sort.key);
  const sign = state.sort.descending ? -1 : 1;
  return [...found].sort((a, b) => {
    const [p, q] = [column.value(a), column.value(b)];
    if (!known(p) || !known(q)) return known(p) ? -1 : known(q) ? 1 : 0;
    if (column.ranks && lacks(a) !== lacks(b)) return lacks(a) - lacks(b);
    return (p < q ? -sign : p > q ? sign : 0) || (a.kind === "floor") - (b.kind === "floor") || (a.method < b.method ? -1 : 1);
  });
}

function drawLeaderboard() {
  const listed = columns(), metric = state.metric;
  if (!listed.some((column) => column.key === state.sort.key)) state.sort = { key: "metric", descending: true };
  const found = sorted(rows(), listed);
  const lows = found.flatMap((row) => [row.values[metric], row.intervals[metric]?.[0], ...row.published.filter((p) => p.metric === metric).map((p) => p.value)]).filter(known);
  const low = Math.max(0, Math.floor(Math.min(0.9, ...lows) * 10) / 10);
  const sort = (column) => () => {
    const again = state.sort.key === column.key;
    state.sort = { key: column.key, descending: again ? !state.sort.descending : !column.ascending };
    drawLeaderboard();
    $("leaderboard-table").querySelector(`[data-key=${column.key}] button`).focus();
  };
  const head = listed.map((column) => el("th", {
    scope: "col", "data-key": column.key, class: column.value && !column.text && column.key !== "method" ? "number" : null,
    "aria-sort": !column.value ? null : column.key !== state.sort.key ? "none" : state.sort.descending ? "descending" : "ascending",
  }, column.value ? el("button", { type: "button", onclick: sort(column) }, column.title) : column.title,
  column.bars ? el("div", { class: "muted small" }, `axis from ${brief(low)} to 1`) : null));
  const body = found.map((row) => el("tr", { class: row.tied ? "tied" : null, "data-method": row.method }, listed.map((column) => {
    if (column.key === "method") return el("th", { scope: "row" }, row.method, " ", kindBadge(row.kind));
    if (column.bars) return el("td", { class: "bars" }, row.n_categories ? intervalBar(row, metric, low) : null);
    if (column.remarks) return el("td", { class: "remarks" }, remarks(row));
    return el("td", { class: column.text ? null : "number" }, column.cell(row));
  })));
  $("leaderboard-table").replaceChildren(
    el("thead", {}, el("tr", {}, head)),
    el("tbody", {}, body.length ? body : el("tr", {}, el("td", { colspan: listed.length }, "Nothing to show."))));
  drawVerdict(found);
  drawLegend(found);
}

function remarks(row) {
  const all = rows(state.category, ""), most = Math.max(...all.map((one) => one.n_categories));
  const failed = row.errors.map((e) => el("div", { class: "small" },
    el("span", { class: `badge ${e.status === "failed" ? "bad" : "floor"}` }, e.status), ` ${row.n_categories ? `${e.category}: ` : ""}${short(e.error ?? "no reason given", 90)}`));
  if (row.not_ranked) return [row.n_categories ? el("span", { class: "badge bad", title: "It is not ranked" }, row.not_ranked) : null, failed];
  return [
    row.tied && all.filter((one) => one.tied).length === 1 ? el("span", { class: "badge tied", title: "By ROC AUC" }, "best")
      : row.tied ? el("span", { class: "badge tied", title: "By ROC AUC: cannot be told from the best, at 5 %" }, "tied with the best") : null,
    row.n_categories && row.n_categories < most ? el("span", { class: "badge bad", title: "Its means are not of the same images" }, `only ${row.n_categories} of ${most} categories`) : null,
    row.below ? el("span", { class: "badge bad", title: "By ROC AUC: it is not shown to be better than each floor" }, "not above a floor") : null,
    row.published.map((p) => el("div", { class: "small muted", title: p.source }, `published: ${DATA.metrics.some((m) => m.name === p.metric) ? metricLabel(p.metric) : p.metric} ${fixed(p.value)} (${short(p.source, 60)})`)),
    failed,
  ];
}

/* Who leads, by how much, who cannot be told from it, and which of these is the fastest; floors only as a warning. */
function drawVerdict(found) {
  $("ground").textContent = short([state.dataset, state.protocol, state.category].filter(Boolean).join(", "), 120);
  const metric = state.metric, good = ranked(found), best = good[0];
  if (!good.length) {
    const why = unique(found.map((row) => row.not_ranked));
    $("verdict").textContent = found.some((row) => row.n_categories) && why.length === 1 && why[0]
      ? `No method is ranked here: ${why[0]}. Test images shows the most unusual images first.` : "No method has a result here.";
    return;
  }
  const first = ranked(rows(state.category, ""))[0], whole = first === best;
  const ties = metric === DATA.ranking && whole ? good.filter((row) => row.tied && row !== best && !row.not_ranked) : [];
  const limits = best.intervals[metric];
  const names = (list) => list.map((row) => row.method).join(", ");
  const said = [el("b", {}, best.method), ` has the highest ${metricLabel(metric)}, ${fixed(best.values[metric])}`,
    limits && known(limits[0]) ? ` (95 % interval ${fixed(limits[0])} to ${fixed(limits[1])})` : "", best.not_ranked ? `, but is not ranked: ${best.not_ranked}. ` : ". "];
  if (!whole) said.push(`Of all methods it is ${first.method}, ${fixed(first.values[metric])}`, metric === DATA.ranking ? "; “tied” refers to that one. " : ". ");
  if (good.some((row) => row.n_categories < best.n_categories)) said.push("Methods that lack categories are not ranked with it. ");
  if (ties.length) said.push(`${short(names(ties), 200)} cannot be told from it. `);
  const floors = [best, ...ties].filter((row) => row.kind === "floor");
  if (floors.length) said.push(`Among them are floors (${names(floors)}): these images are too easy, or too few, to show what a method is worth. `);
  const weak = [best, ...ties].filter((row) => row.kind !== "floor" && row.below);
  if (weak.length) said.push(`Not above a floor: ${short(names(weak), 200)}. `);
  const group = [best, ...ties].filter((row) => row.kind !== "floor" && !row.below && known(row.costs.predict_ms_per_image));
  if (group.length > 1) {
    const cheap = group.reduce((a, b) => (b.costs.predict_ms_per_image < a.costs.predict_ms_per_image ? b : a));
    said.push(`Of ${floors.length || weak.length ? "the others" : "these"} ${cheap.method} is the fastest: ${costText("predict_ms_per_image", cheap.costs.predict_ms_per_image)} per image.`);
  }
  $("verdict").replaceChildren(...said);
}

function drawLegend(found) {
  const entry = (kind, text) => el("span", {}, svg("svg", { width: 16, height: 16, "aria-hidden": "true" }, mark(kind, 8, 8)), text);
  $("legend").replaceChildren(
    ...Object.keys(KINDS).filter((kind) => found.some((row) => row.kind === kind)).map((kind) => entry(kind, KINDS[kind].text)),
    ...(found.some((row) => row.published.length) ? [entry("published", "published by others; never computed here")] : []),
    el("span", {}, "“tied with the best” and “not above a floor” are judged by ROC AUC"));
}

section({
  start: () => $("more-columns").addEventListener("change", (event) => { state.moreColumns = event.target.checked; drawLeaderboard(); }),
  draw: drawLeaderboard,
});
