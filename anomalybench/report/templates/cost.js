/* Accuracy against cost. */

function drawCost() {
  const whole = rows().filter((row) => !lacks(row));
  const lacking = rows().some((row) => row.n_categories && lacks(row)) ? " Methods that lack categories, or are not ranked, are left out." : null;
  const points = whole.map((row) => ({ row, cost: row.costs[state.cost], value: row.values[state.metric] }))
    .filter((p) => p.cost > 0 && known(p.value));
  $("cost-tools").replaceChildren(...["predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "fit_s", "peak_memory_mb"].map((name) => el("button", {
    type: "button", "aria-pressed": String(name === state.cost), "data-cost": name,
    onclick: () => { state.cost = name; drawCost(); $("cost-tools").querySelector(`[data-cost=${name}]`).focus(); },
  }, COSTS[name].label)));
  $("cost-chart").replaceChildren(...(points.length
    ? [scatter(points, state.cost, state.metric, chartWidth("cost-chart")),
      el("p", { class: "muted small" }, "Dashed line and bold names: the Pareto front, what nothing else beats for the same cost or less.",
        lacking)]
    : [el("p", { class: "muted" }, "Nothing to draw.", lacking)]));
}

section({ draw: drawCost, ofWidth: true });
