/* What did not finish, and why. */

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

section({ start: drawUnfinished });
