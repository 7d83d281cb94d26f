"use strict";
// Everything shown comes from the JSON in #content and enters the page as text, never as markup.
const content = JSON.parse(document.getElementById("content").textContent);
const byId = (id) => document.getElementById(id);
const columns = Object.fromEntries(content.columns.map((column) => [column.name, column]));
const limits = {};
const minimized = (name, value) => columns[name].sign * value;  // a metric that is maximised is turned
const worst = (value, name) => (value === null || value === undefined ? Infinity : minimized(name, value));
let pinned = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function show(name, value) {
  if (value === null || value === undefined) return "not measured";
  const { digits, unit } = columns[name];
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) + (unit && ` ${unit}`);
}

const withUnit = (name) => [columns[name].title, columns[name].unit].filter(Boolean).join(", ");

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Plotly reads names as a little markup of its own, so what could be markup is taken out of them.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function draw(target, traces, x, y, more = {}) {
  const axis = { gridcolor: style("--line"), zeroline: false, automargin: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--ink") },
    margin: { l: 60, r: 20, t: 20, b: 50 }, hovermode: "closest", modebar: { bgcolor: "rgba(0,0,0,0)" }, legend: { orientation: "h", y: 1.12 },
    xaxis: { ...axis, title: { text: plain(x) }, ...more.xaxis }, yaxis: { ...axis, title: { text: plain(y) }, ...more.yaxis },
  };
  return Plotly.react(target, traces, layout, { responsive: true, displaylogo: false });
}

// ---------------------------------------------------------------- the front

const LAYERS = [
  { key: "measured", name: "measured", marker: { size: 6, symbol: "circle-open" } },
  { key: "baseline", name: "uniform networks", marker: { size: 11, symbol: "x" } },
  { key: "front", name: "front", marker: { size: 10, symbol: "circle" } },
];
const FORMAT_COLOURS = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#eeca3b"];
const formats = [...new Set(content.networks.flatMap((network) => network.blocks.map((block) => block.format)))].sort();
const colourOf = (format) => FORMAT_COLOURS[formats.indexOf(format) % FORMAT_COLOURS.length];

function kept() {
  return content.networks.filter((network) =>
    Object.entries(limits).every(([name, limit]) => network.values[name] !== null && minimized(name, network.values[name]) <= minimized(name, limit)));
}

function hover(network) {
  const name = network.baseline ? `${network.id} (${network.baseline})` : network.id;
  const lines = content.columns.map((column) => `${column.title}: ${show(column.name, network.values[column.name])}`);
  const formats = network.blocks.map((block) => block.format);
  const counts = [...new Set(formats)].map((format) => `${formats.filter((other) => other === format).length} x ${format}`);
  return [name, ...lines, `${formats.length} blocks: ${counts.join(", ")}`].map(plain).join("<br>");
}

function drawFront() {
  const [x, y, colour] = ["x", "y", "colour"].map((id) => byId(id).value);
  const rows = kept();
  const drawn = rows.filter((network) => network.values[x] !== null && network.values[y] !== null);
  const all = content.networks.map((network) => network.values[colour]).filter((value) => value !== null);
  const traces = LAYERS.map((layer) => {
    const mine = drawn.filter((network) => network.layers.includes(layer.key));
    const marker = { ...layer.marker, line: { width: 1.5 } };
    if (colour) {
      Object.assign(marker, { color: mine.map((network) => network.values[colour]), colorscale: "Viridis",
        cmin: Math.min(...all), cmax: Math.max(...all), showscale: layer.key === "front",
        colorbar: { title: { text: plain(withUnit(colour)), side: "right" } } });
    } else {
      marker.color = { measured: style("--faint"), baseline: "#e45756", front: style("--accent") }[layer.key];
    }
    return { type: "scatter", mode: "markers", name: layer.name, marker, x: mine.map((network) => network.values[x]),
      y: mine.map((network) => network.values[y]), customdata: mine.map((network) => network.id),
      text: mine.map(hover), hoverinfo: "text" };
  });
  const ticks = byId("log").checked ? logarithmic(drawn.map((network) => network.values[x])) : { type: "linear" };
  const shown = new Set(drawn.map((network) => network.id)).size;
  byId("count").textContent = `${rows.length} of ${content.networks.length} networks satisfy the constraints, ` +
    `${shown} are drawn` + (shown < rows.length ? ": the others have no value on an axis" : "");
  fillTable(rows.filter((network) => byId("all").checked || network.layers.includes("front")));
  const tied = new Set(drawn.map((network) => network.values[y])).size === 1;  // else Plotly would show errors below 0
  return draw("plot", traces, withUnit(x), withUnit(y), { xaxis: ticks, yaxis: tied ? { rangemode: "tozero" } : {} });
}

// Plotly's own ticks of a logarithmic axis say "2" for 0.02 and for 0.2.
function logarithmic(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const decades = Math.log10(high / low);
  const steps = decades > 3 ? [1] : decades > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const powers = Array.from({ length: 31 }, (_, i) => i - 15);
  const tickvals = powers.flatMap((power) => steps.map((step) => Number(`${step}e${power}`)))
    .filter((tick) => low / 1.5 <= tick && tick <= high * 1.5);
  return { type: "log", tickvals, ticktext: tickvals.map((tick) => tick.toLocaleString("en", { maximumSignificantDigits: 2 })) };
}

function fillTable(rows) {
  const head = element("tr", {}, ...["id", ...content.columns.map((column) => column.title)].map((text) => {
    return element("th", { scope: "col" }, text);
  }));
  const by = (name) => (a, b) => worst(a.values[name], name) - worst(b.values[name], name);
  const sorted = [...rows].sort((a, b) => by(byId("y").value)(a, b) || by(byId("x").value)(a, b));
  const body = sorted.map((network) => {
    const button = element("button", { type: "button" }, network.id + (network.tied ? " ~" : ""));
    button.addEventListener("click", () => {
      pin(network.id);
      byId("pinned").focus();
    });
    if (network.baseline) button.title = network.baseline;
    const cells = content.columns.map((column) => element("td", {}, show(column.name, network.values[column.name])));
    return element("tr", {}, element("td", {}, button), ...cells);
  });
  byId("networks").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

function picture(blocks) {
  const width = Math.max(34, Math.min(70, 1000 / blocks.length));
  const most = Math.max(...blocks.map((block) => block.channels));
  const drawing = svg("svg", { viewBox: `0 0 ${width * blocks.length} 190`, width: width * blocks.length, height: 190,
    role: "img", "aria-label": blocks.map((block) => `${block.name}: ${block.channels} channels, ${block.format}`).join("; ") });
  blocks.forEach((block, i) => {
    const height = 20 + 90 * Math.sqrt(block.channels / most);
    const group = svg("g", {});
    group.append(svg("title", {}, `${block.name}: ${block.channels} channels of ${block.size}, ${block.format}` +
      (block.kernel ? `, kernel ${block.kernel}` : "")));
    group.append(svg("rect", { x: i * width + 2, y: 70 - height / 2, width: width - 4, height, rx: 3,
      fill: colourOf(block.format) }));
    const middle = { x: (i + 0.5) * width, "text-anchor": "middle", fill: "currentColor", "font-size": 11 };
    group.append(svg("text", { ...middle, y: 74, fill: "#fff" }, block.kernel ? `k${block.kernel}` : ""));
    group.append(svg("text", { ...middle, y: 142 }, block.channels), svg("text", { ...middle, y: 158 }, block.size));
    group.append(svg("text", { ...middle, y: 174, "font-size": 9 }, block.format));
    drawing.append(group);
  });
  return drawing;
}

function pin(id) {
  pinned = content.networks.find((network) => network.id === id);
  const numbers = element("dl");
  for (const column of content.columns) {
    numbers.append(element("dt", {}, column.title), element("dd", {}, show(column.name, pinned.values[column.name])));
  }
  const command = element("pre", {}, `hwnas export ${content.folder} ${id} --to my_model`);
  const copy = element("button", { type: "button" }, "copy the command");
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(command);
    document.execCommand("copy");
  });
  const names = [id, pinned.baseline, pinned.tied ? "tied: another would beat it within the noise" : null];
  byId("pinned").replaceChildren(
    element("h2", {}, names.filter(Boolean).join(", ")), picture(pinned.blocks),
    element("p", { class: "legend" }, "A box a block: height by channels, colour by format; below it channels, height x width."),
    numbers, command, copy);
}

function setUpFront() {
  for (const [id, first] of [["x", content.x], ["y", content.y], ["colour", ""]]) {
    const options = content.columns.map((column) => new Option(column.title, column.name, false, column.name === first));
    byId(id).append(...(id === "colour" ? [new Option("kind", "")] : []), ...options);
    byId(id).addEventListener("change", drawFront);
  }
  for (const id of ["log", "all"]) byId(id).addEventListener("change", drawFront);
  for (const name of content.limits) {
    const values = content.networks.map((network) => network.values[name]).filter((value) => value !== null)
      .sort((a, b) => minimized(name, a) - minimized(name, b));  // the best first
    if (values.length < 2) continue;
    const slider = element("input", { type: "range", min: 0, max: values.length - 1, value: values.length - 1, id: `max-${name}`,
      "aria-valuetext": show(name, values.at(-1)) });
    const output = element("output", {}, show(name, values.at(-1)));
    slider.addEventListener("input", () => {
      const value = values[slider.valueAsNumber];
      if (value === values.at(-1)) delete limits[name];
      else limits[name] = value;
      output.textContent = show(name, value);
      slider.setAttribute("aria-valuetext", output.textContent);
      drawFront();
    });
    byId("limits").append(element("label", {}, columns[name].title, output, slider));
  }
  for (const list of ["gains", "recommended", "pairs"]) {
    byId(list).append(...content[list].map((text) => element("li", {}, text)));
  }
  drawFront().then(() => byId("plot").on("plotly_click", (event) => pin(event.points[0].customdata)));
}

// ---------------------------------------------------------------- the other tabs

function drawLatency() {
  byId("latency").replaceChildren(...content.latency.flatMap((device, i) => [
    element("h2", {}, device.name),
    element("p", device.valid ? {} : { class: "warning" }, device.verdict),
    element("div", { class: "plot", id: `latency-${i}` }),
  ]));
  content.latency.forEach((device, i) => {
    const measured = device.held_out.map((pair) => pair[0]);
    const own = content.networks.filter((n) => n.values[device.column] != null && n.values[device.predicted] != null);
    const all = [...measured, ...own.map((n) => n.values[device.column])];
    const ends = [Math.min(...all) * 0.9, Math.max(...all) * 1.1];
    const line = (factor, name) => ({ type: "scatter", mode: "lines", x: ends, y: ends.map((end) => factor * end), name,
      line: { color: style("--faint"), dash: factor === 1 ? "solid" : "dot" }, hoverinfo: "skip", showlegend: factor !== 0.9 });
    const traces = [line(1, "equal"), line(0.9, ""), line(1.1, "10 % off"),
      { type: "scatter", mode: "markers", name: "held-out networks", x: measured, y: device.held_out.map((pair) => pair[1]),
        marker: { size: 9, color: style("--accent") } }];
    traces.push({ type: "scatter", mode: "markers", name: "timed networks of the search",
      x: own.map((n) => n.values[device.column]), y: own.map((n) => n.values[device.predicted]), text: own.map((n) => n.id),
      marker: { size: 7, symbol: "diamond-open", color: "#f58518" } });
    draw(`latency-${i}`, traces, "measured, ms", "predicted, ms");
  });
}

function drawLines(id, lines, x, y, more) {
  const traces = lines.map((line) => ({ type: "scatter", mode: "lines+markers", ...line }));
  return draw(document.querySelector(`#${id} .plot`), traces, x, y, more);
}

function words(id, text) {
  document.querySelector(`#${id} .words`).textContent = text;
}

const DRAW = {
  front: drawFront,
  latency: drawLatency,
  predictor() {
    words("predictor", content.predictor.words);
    drawLines("predictor", [{ x: content.predictor.sizes, y: content.predictor.taus }], "networks learned from",
      "Kendall tau on the others");
  },
  training() {
    const { name, title, unit } = content.metric;
    const line = (name, key) => ({ name, x: content.training.map((r) => r.epoch), y: content.training.map((r) => r[key]) });
    drawLines("training", [line("largest", `${name}_largest`), line("smallest", `${name}_smallest`)], "epoch",
      [`${title} on the training batches`, unit].filter(Boolean).join(", "));
  },
  rounds() {
    document.querySelector("#rounds ul").replaceChildren(...content.rounds.words.map((text) => element("li", {}, text)));
    const [x, y] = [content.x, content.y].map((name) => columns[name]);
    const axis = (column) => [column.title, column.unit].filter(Boolean).join(", ");
    drawLines("rounds", content.rounds.fronts.map((front) => ({ ...front, mode: "markers" })), axis(x), axis(y));
  },
  choices() {
    words("choices", content.importances.words);
    const { names, values } = content.importances;
    draw(document.querySelector("#choices .plot"), [{ type: "bar", orientation: "h", x: values, y: names.map(plain) }],
      `share of the variation of the ${content.metric.title}`, "");
  },
  search() {
    words("search", content.hypervolume.words);
    const { values } = content.hypervolume;
    drawLines("search", [{ x: values.map((_, i) => i + 1), y: values, mode: "lines" }], "measured networks",
      "hypervolume, share of the final one");
  },
  configuration() {
    document.querySelector("#configuration pre").textContent = content.configuration;
  },
};

function openTab(id) {
  for (const section of document.querySelectorAll("[data-tab]")) section.hidden = section.id !== id;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const selected = tab.id === `tab-${id}`;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  DRAW[id]();
}

function setUpTabs() {
  if (!content.rounds.words.length) byId("rounds").remove();
  const sections = [...document.querySelectorAll("[data-tab]")];
  sections.forEach((section, i) => {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${section.id}`, "aria-controls": section.id },
      section.dataset.tab);
    tab.addEventListener("click", () => openTab(section.id));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: sections.length - 1 }[event.key];
      if (!step) return;
      const next = byId(`tab-${sections[(i + step) % sections.length].id}`);
      next.focus();
      next.click();
    });
    section.setAttribute("role", "tabpanel");
    section.setAttribute("aria-labelledby", tab.id);
    byId("tabs").append(tab);
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
byId("title").textContent = content.title;
byId("verdict").textContent = content.latency.map((device) => device.verdict).join(" ");
byId("verdict").classList.toggle("warning", content.latency.some((device) => !device.valid));
byId("theme").addEventListener("click", () => {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  openTab(document.querySelector("[role=tab][aria-selected=true]").id.slice("tab-".length));
});
setUpTabs();
setUpFront();
openTab("front");
