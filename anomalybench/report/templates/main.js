/* The beginning. */

function drawAll() {
  drawFilters();
  for (const { draw } of SECTIONS) draw?.();
}

function about() {
  const count = (status) => DATA.jobs.filter((job) => job.status === status).length;
  const parts = [plural(unique(DATA.jobs.map((job) => job.method)).length, "method"),
    plural(unique(DATA.jobs.map((job) => `${job.dataset}/${job.category}`)).length, "category"),
    `${plural(DATA.jobs.length, "job")}: ${["ok", "failed", "skipped"].filter(count).map((status) => `${count(status)} ${status}`).join(", ")}`,
    DATA.dates.length ? `run ${unique([DATA.dates[0], DATA.dates.at(-1)]).join(" to ")}` : null, `anomalybench ${DATA.version}`];
  $("about").textContent = parts.filter(Boolean).join(" · ");
  $("terms").replaceChildren(...Object.entries(DATA.terms).map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text))));
  $("notices").replaceChildren(...DATA.notices.map((text) => el("p", { class: "notice", role: "note" }, text)));
}

function mostOf(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

function start() {
  about();
  if (!DATA.jobs.length) return;
  for (const one of SECTIONS) one.start?.();
  const most = mostOf(DATA.jobs.map((job) => JSON.stringify([job.dataset, job.protocol])));
  [state.dataset, state.protocol] = JSON.parse(most);
  settle();
  drawAll();
  const sections = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
  $("contents").replaceChildren(...sections.map((section) => el("li", {}, el("a", { href: `#${section.id}` }, section.querySelector("h2").firstChild.textContent.trim()))));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const { draw, ofWidth } of SECTIONS) if (ofWidth) draw();
  });
}

start();
